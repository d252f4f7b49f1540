"""`ibca compare`: the figures of several runs in one table."""
