"""What every package of the flows stands on: the project, the terminal, a folder for a while, how a run is stopped."""
