"""One replica: a process that answers HTTP with an engine's tokens."""
