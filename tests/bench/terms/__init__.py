"""What training terms bring: the tables of `experiments/README.md`."""
