"""`ibca app`: a page on this machine for trained models."""

NOTE = "Research software, not a medical device."
"""Stands on every page and in every answer."""
