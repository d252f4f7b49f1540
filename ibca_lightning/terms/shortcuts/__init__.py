"""Published ways to train where something accompanies the classes: by known groups, or by a first model's errors."""
