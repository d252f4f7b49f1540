"""Formats that have more to be looked at than a library does: JPEG with holes, arrays of numpy."""
