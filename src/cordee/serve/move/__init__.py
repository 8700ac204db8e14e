"""A guarded move of live traffic from one pool to another: compared, stepwise, and undone where it must be."""
