"""Tables: sheets, labels, splits, paths."""
