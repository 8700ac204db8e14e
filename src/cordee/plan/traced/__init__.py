"""What a program of the user's would take on other chips, from the trace of a run of it."""
