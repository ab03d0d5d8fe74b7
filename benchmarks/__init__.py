"""Programs that measure: each prints a table and its ratios, and is run alone on the machine by one command."""
