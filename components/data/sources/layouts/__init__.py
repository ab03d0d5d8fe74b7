"""How data may lie: for each source the layouts that are its own, recognised by names, headers and first bytes."""
