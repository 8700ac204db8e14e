"""What Python code means: names, values and kinds, without running it."""
