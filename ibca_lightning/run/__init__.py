"""Training and testing: what goes round a model in a run folder."""
