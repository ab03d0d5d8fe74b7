"""The commands, in the order of `convoy --help`: what is asked for, and how the answer is shown."""
