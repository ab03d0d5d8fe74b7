"""A float32 graph rewritten so that it computes in 8 bits: what is rounded, by which ranges, and what that costs."""
