"""The stages of data as DVC runs them: what each writes, what it depends on, and whose is what lies in its place."""
