"""What a network learns by: its labels, and a teacher's outputs and features."""
