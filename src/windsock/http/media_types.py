"""The media type of a response, as the header Accept asks for it."""

from fastapi import Request

CSV, JSON = "text/csv", "application/json"


def prefers_csv(request: Request) -> bool:
    """Whether the client accepts CSV, and prefers it to JSON."""
    accept = ",".join(request.headers.getlist("accept")).lower()
    if CSV not in accept:
        return False
    weights: dict[str, float] = {}
    for media_range in accept.split(","):
        name, *parameters = (part.strip() for part in media_range.split(";"))
        weights[name] = min((_weight(part) for part in parameters if part.startswith("q=")), default=1.0)
    return weights.get(CSV, 0.0) > weights.get(JSON, 0.0)


def _weight(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0
