"""The words of a command line and of YAML files: names of classes and recipes, and one line for what is wrong."""
