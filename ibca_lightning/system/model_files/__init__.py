"""What a file of torch holds, seen before torch makes it: the record of a model, and what the pickle would call."""
