"""What networks are built of, whatever their family: layers, pooling, attention, units, and their arguments."""
