"""How a pretrained model learns: from which weights and epoch on, which layer how fast, whole or by adapters."""
