"""The operators a decoder is made of, once for each kind of chip."""
