"""What an operator demands of its arguments, refused as the adapter refuses it."""


def require(condition: bool, message: str) -> None:
    """Raise RuntimeError, as the adapter's own check would, unless `condition` holds."""
    if not condition:
        raise RuntimeError(message)
