"""What `predict`, `explain` and `maps` note of each picture: the files of a folder, the parts of several processes."""
