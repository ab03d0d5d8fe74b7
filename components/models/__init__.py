"""Architectures: one file a family, added by one registration."""
