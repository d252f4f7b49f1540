"""Heads that intervene: on attention, on what is only correlated, or on what is learnt first."""
