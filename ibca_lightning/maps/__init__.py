"""`ibca maps`: a frozen backbone's maps, stored once for many heads."""
