"""What a gateway decides, without doing it: pure functions of what is known, so that they can be simulated."""
