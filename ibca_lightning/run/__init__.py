"""A run: fit, validate and test through the Lightning CLI, its folder, loggers and callbacks."""
