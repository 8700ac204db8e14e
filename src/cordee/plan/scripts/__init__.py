"""Launch scripts of training programs, as what they ask of chips."""
