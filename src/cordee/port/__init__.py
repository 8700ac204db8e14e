"""Finds every tie to NVIDIA in a repository, and rewrites what can be proven."""
