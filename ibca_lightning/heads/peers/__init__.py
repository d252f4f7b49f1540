"""The heads that IBCA is compared with, and the layers that only they use."""
