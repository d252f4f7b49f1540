"""Resamples of groups, and the intervals that are made of them."""
