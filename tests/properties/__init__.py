"""Statements that hold for any input, tried on inputs that hypothesis draws: the same ones in every run."""

from hypothesis import settings

settings.register_profile("ci", max_examples=60, derandomize=True, deadline=None, database=None)
settings.load_profile("ci")
