"""HTTP/1.1, as much of it as streams and pages need: a server, a client, and the loop both run in."""
