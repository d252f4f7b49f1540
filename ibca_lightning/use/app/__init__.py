"""`ibca app`: a page on this machine for trained models."""
