"""Tables of any kind: CSV, workbooks, Parquet."""
