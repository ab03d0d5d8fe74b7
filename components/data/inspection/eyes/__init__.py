"""What an inspection sees of each kind of input: a file a kind."""
