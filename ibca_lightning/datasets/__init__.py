"""Data sets: one thin file each over the tables and pictures of `ibca_lightning.data`, which exports their classes."""
