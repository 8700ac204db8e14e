"""The whole way in one command: a program written for NVIDIA is ported, proven, planned, trained and served."""
