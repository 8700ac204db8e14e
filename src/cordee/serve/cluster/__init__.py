"""Replicas on more than one machine: what Kubernetes is to run, and where it runs."""
