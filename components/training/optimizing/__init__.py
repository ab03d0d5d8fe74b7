"""How weights change: optimizers, rates, what is held still, what is rounded, when to end."""
