"""The best deployments for a model and its traffic on several kinds of chips."""
