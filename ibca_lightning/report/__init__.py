"""`ibca report`: a tested run as one HTML page."""
