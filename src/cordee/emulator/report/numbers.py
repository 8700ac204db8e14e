"""Numbers as a person reads them."""


def bytes_text(size_bytes: float) -> str:
    """With the binary unit that leaves one to four digits before the point: "61.0 GiB"."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return (
                f"{size:.0f} {unit}" if unit == "B" or size == int(size) else f"{size:.1f} {unit}"
            )
        size /= 1024
    return f"{size:.1f} TiB"


def count_text(number: int) -> str:
    """With thin spaces between thousands."""
    return f"{number:,}".replace(",", "\u202f")


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


def duration_text(duration_s: float) -> str:
    """Seconds below two minutes, then minutes and hours."""
    if duration_s < 120:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def seconds_text(duration_s: float) -> str:
    """With the unit that leaves one to three digits before the point: "31.0 ms"."""
    if duration_s == 0:
        return "0"
    for unit, size in (("µs", 1e-6), ("ms", 1e-3)):
        if duration_s < 999.5 * size:
            value = duration_s / size
            return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
    return duration_text(duration_s)


def small_text(value: float) -> str:
    """A difference: two significant digits."""
    return "0" if value == 0 else f"{value:.1e}"
