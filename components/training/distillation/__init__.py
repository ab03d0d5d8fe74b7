"""Learning from a teacher: who it is, what is copied of it, and how often it must be asked."""
