"""How the training of one network is laid over several workers: copies, shards or stages of it."""
