"""Where a source lies: here or at an address, in an archive or not; fetched within bounds, and kept."""
