"""How long something took, in words: the same on a terminal and on a page."""


def format_duration(seconds: float | None) -> str:
    """The two largest units: `12 min`, `1 min 5 s`, `1 h 5 min`, `2 d 4 h`, `4.2 s`; no seconds from ten minutes on."""
    if seconds is None:
        return ""
    if round(seconds, 1) < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, hours, minutes, rest = whole // 86_400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {rest} s" if rest and minutes < 10 else f"{minutes} min"  # noqa: PLR2004 - as above
