"""A source's samples → a data set: ingested as they are, then brought to one form and split."""
