"""What the named sets share: files of tables, folders as they are released, tiles, boxes, pairs and arrays."""
