"""The way in: what there is to choose from (`ibca list`), by the names that the other commands take."""
