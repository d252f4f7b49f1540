"""Callbacks and what they watch: early stopping that survives a stop, and what does not go with the module."""
