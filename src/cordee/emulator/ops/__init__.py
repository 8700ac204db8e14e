"""The operators of the virtual chip: which are taken over, and the maths of those PyTorch lacks."""
