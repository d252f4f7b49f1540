"""What `ibca predict` writes: the files of one folder, and the parts of several processes."""
