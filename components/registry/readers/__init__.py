"""How what is asked about is read where a version is served: one file per kind of input, stored with every version."""
