"""Sizes and times as a person reads them."""


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
