"""How a pretrained backbone learns: from which epoch on, which layer how fast, whole or by adapters."""
