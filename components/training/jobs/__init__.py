"""What training is asked for: which networks, how many, and what is done about classes of different sizes."""
