"""Settings that find themselves: the batch that fits, the rate that learns, the epoch to end at."""
