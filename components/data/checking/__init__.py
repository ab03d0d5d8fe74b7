"""A path of a user's → what kind of source it is, what it holds, and what would be its catalogue entry."""
