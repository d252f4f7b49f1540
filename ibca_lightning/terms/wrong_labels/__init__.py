"""Against labels that are wrong: memories of early predictions, and labels turned over."""
