"""Artefacts drawn on real pictures so that they accompany labels: shortcuts that are known."""
