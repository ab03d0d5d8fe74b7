"""A trained network as a graph that is shipped: traced, compared, in other formats, and how fast it is there."""
