"""Figures: multi-label, localisation; they know nothing of Lightning, data or files."""
