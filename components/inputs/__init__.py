"""What a network is given, as data: no PyTorch, and nothing that is known of a data set."""
