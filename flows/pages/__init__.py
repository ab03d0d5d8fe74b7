"""The pages on the loopback, and what they show of the project."""
