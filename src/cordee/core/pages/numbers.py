"""Counts and shares as a person reads them."""


def count_text(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


def plural(number: int, one: str) -> str:
    """A count and the word for what is counted."""
    return f"{count_text(number)} {one}" if number == 1 else f"{count_text(number)} {one}s"


def share_text(share: float) -> str:
    """A share of one as a percentage that never says 0 for something or 100 for less."""
    percent = share * 100
    if percent == 0:
        return "0 %"
    if percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent == int(percent) else f"{percent:.1f} %"
