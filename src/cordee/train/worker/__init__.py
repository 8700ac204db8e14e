"""What runs in each process that trains."""
