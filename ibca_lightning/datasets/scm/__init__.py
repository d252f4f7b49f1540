"""Synthetic pictures from a structural causal model."""
