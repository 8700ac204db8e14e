"""Shell scripts as text: their words, and what their programs are started with."""
