"""Which rows are one patient, and what a cell says of that."""
