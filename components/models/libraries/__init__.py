"""Networks that other libraries keep, taken from them by name."""
