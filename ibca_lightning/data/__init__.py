"""Data modules: one file per data set over one table, one reader and one set of transforms."""
