"""What every reader stands on: the form of samples, the boundary of what a library raises, faults, limits, names."""
