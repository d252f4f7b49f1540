"""The model: a backbone, a head and the LightningModule that trains them; checkpoints."""
