"""Heads in which queries of the labels read the map as a transformer's decoder does."""
