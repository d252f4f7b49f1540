"""The way in: from a table and a folder to an experiment (`ibca init`), and what has a name (`ibca list`)."""
