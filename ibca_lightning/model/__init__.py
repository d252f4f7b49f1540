"""The model: the network, the Lightning module that trains it, and the checkpoint that describes it."""
