"""Heads that pool a map by attention, and classify what they pooled by a linear layer."""
