"""HTTP/1.1, as much of it as a service of streams needs: a server, a client, and the loop both run in."""
