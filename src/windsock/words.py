"""How long something took, in words: the same on a terminal and on a page."""


def duration(seconds: float | None) -> str:
    """The two largest units: `3 min`, `1 h 5 min`, `2 d 4 h`, `4.2 s`."""
    if seconds is None:
        return ""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{rest} min"
