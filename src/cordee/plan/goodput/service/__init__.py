"""A service of which replicas fall: what the gateway of `cordee serve` decides then, and what clients see of it."""
