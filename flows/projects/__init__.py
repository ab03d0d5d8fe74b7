"""New projects, outside of a clone: what `convoy init` puts into a folder."""
