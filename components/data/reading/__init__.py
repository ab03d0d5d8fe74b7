"""A prepared data set → arrays: in memory, in memory maps, or window by window."""
