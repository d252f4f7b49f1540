"""`ibca check`: what is wrong with the data."""
