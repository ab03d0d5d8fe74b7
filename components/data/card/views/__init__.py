"""What a page shows of each kind of input: a file a kind."""
