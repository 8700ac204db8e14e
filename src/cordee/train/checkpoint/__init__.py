"""The last resort, for when no worker is left: the state of a job in shared memory, and on a disk."""
