"""wandb, and the loggers that `--trainer.logger` adds by their short names."""
