"""Simple models that learn from the same samples beside the networks, and by which a gate can hold a version.

What a simple model is shown of inputs is told by a file per kind of input, found by its name.
"""
