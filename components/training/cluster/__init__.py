"""Trainings as Ray runs them on this machine or on several."""
