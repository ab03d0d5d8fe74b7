"""One training, from its first step to its last, through stops and losses gone wrong."""
