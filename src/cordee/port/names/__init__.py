"""Which names each version of torch and torch_npu offers."""


def offered(name: str, version: str) -> bool:
    """Whether `name` is in that version."""
    return bool(name and version)
