"""The service's own web page: its state as it is now, and a chat in which one can follow a failure."""
