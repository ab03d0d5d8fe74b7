"""What a source holds of each kind of input, counted as it is read: a file a kind."""
