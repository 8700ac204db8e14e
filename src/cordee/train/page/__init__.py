"""A job as one sees it: its page while it runs, its report afterwards, and its figures for Prometheus."""
