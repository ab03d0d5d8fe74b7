"""One run of a flow: what it is known by, what it has at hand, and the one wrapper around every step."""
