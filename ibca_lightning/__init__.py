"""IBCA and its peers: multi-label recognition of medical images on PyTorch Lightning."""

__version__ = "0.1.0"
