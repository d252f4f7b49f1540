"""Weights of others: read from a file, brought into timm's keys, with the normalisation that they were trained with."""
