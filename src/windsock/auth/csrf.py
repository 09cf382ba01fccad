"""Protection against cross-site request forgery: forms are accepted from Windsock's own pages only."""

from fastapi import Request

from windsock.errors import Forbidden

SAFE_METHODS = {"GET", "HEAD"}
MAX_ORIGIN_CHARACTERS = 200


async def check_same_origin(request: Request) -> None:
    """Raise Forbidden for a form that another site sends with our cookie: browsers name the origin, unforgeably."""
    if request.method in SAFE_METHODS:
        return
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site == "same-origin" or (site is None and origin == f"{request.url.scheme}://{request.url.netloc}"):
        return
    if site is None and origin:
        raise Forbidden(
            f"The form was sent from {origin[:MAX_ORIGIN_CHARACTERS]}, but Windsock received it as "
            f"{request.url.scheme}://{request.url.netloc}. If a proxy is in front of Windsock, it must pass the Host "
            "header and the scheme (X-Forwarded-Proto)."
        )
    raise Forbidden("This was not sent from one of Windsock's own pages. Open the page again and try there.")
