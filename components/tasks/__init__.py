"""What a sample is, what a good answer is, and how a network learns it: one file a task."""
