"""A trained model: load, predict, explain, export."""
