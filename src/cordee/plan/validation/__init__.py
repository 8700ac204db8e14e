"""Published results, predicted from their configurations and compared."""
