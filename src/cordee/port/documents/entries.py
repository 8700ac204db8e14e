"""What rules see of YAML, TOML, JSON and INI alike: values, and by which keys they are reached."""

from dataclasses import dataclass

from cordee.port.python.file import Span

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One scalar, or one key over more (`value` is None then).

    `inner` is where the value's text stands if it stands there as it is, without escapes.
    """

    path: Path
    value: str | None
    span: Span
    inner: Span | None = None
    key_span: Span | None = None  # of the last key, its quotes left out; None in a list
    quote: str = ""
    block: str = ""  # | or > before text over lines

    @property
    def key(self) -> str:
        """The nearest key above the value, past numbers of lists."""
        return next((step for step in reversed(self.path) if isinstance(step, str)), "")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys above the value, without the numbers of lists."""
        return tuple(step for step in self.path if isinstance(step, str))

    @property
    def whole(self) -> Span:
        """The key, if there is one, and the value."""
        return Span(self.key_span.start, self.span.end) if self.key_span else self.span
