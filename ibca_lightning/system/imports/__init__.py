"""What a command may import, and from where."""
