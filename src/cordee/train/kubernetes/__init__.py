"""A job on several hosts of a Kubernetes cluster."""
