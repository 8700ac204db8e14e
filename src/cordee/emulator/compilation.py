"""torch.compile on the virtual chip."""


def install() -> None:
    """Placeholder."""
