"""A study of settings: its space, its trials, what it finds."""
