"""`ibca sweep` and `ibca tune`: many runs under one recipe."""
