"""A trained network with less in it: channels taken out or weights set to zero, in rounds, with training after each."""
