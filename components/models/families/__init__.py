"""Compact networks of our own: one file per family, found by its name."""
