"""Heads with a random latent, and its distance from a prior among the losses."""
