"""How a training reads its samples: in which order, from where, and whose share is whose."""
