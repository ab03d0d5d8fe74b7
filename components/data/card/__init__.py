"""A prepared data set as a page for people: counted, pictured, and laid out."""
