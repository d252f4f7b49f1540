"""The way in: what there is to choose from (`ibca list`), by the names that the other commands take.

list.py   `ibca list`: recipes, heads, losses, data sets and backbones, one line each

To add a name to the list, add the thing: a recipe is a YAML in `experiments/` whose first paragraph says what it is; a
head, a loss or a data set is a file whose docstring's first line does, with one line in the table of short names.
"""
