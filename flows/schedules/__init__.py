"""What runs when, and who is told of it."""
