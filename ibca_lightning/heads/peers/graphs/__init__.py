"""Heads in which a graph joins the labels."""
