"""Passes a secret through a redirect to the next page, which shows it once: an encrypted cookie."""

from fastapi import Request, Response

from windsock.auth.authenticator import Caller
from windsock.connectors.encryption import Encryption
from windsock.errors import Conflict
from windsock.web.templates import redirect

COOKIE = "windsock_secret"
SECONDS = 60


def redirect_with_secret(request: Request, caller: Caller, path: str, secret: str) -> Response:
    """Redirect to `path`, which reads the secret with read_secret and clears it; only for this caller."""
    encryption: Encryption = request.app.state.secrets
    token = encryption.encrypt({"user_id": str(caller.id), "path": path, "secret": secret})
    response = redirect(path)
    response.set_cookie(
        COOKIE, token.decode(), max_age=SECONDS, path=path, secure=request.url.scheme == "https", httponly=True,
        samesite="strict",
    )  # fmt: skip
    return response


def read_secret(request: Request, caller: Caller) -> str | None:
    """Return the secret for this page; None without one, and for one of another user or page."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    encryption: Encryption = request.app.state.secrets
    try:
        value = encryption.decrypt(token.encode("latin-1", "replace"))
    except Conflict:
        return None
    is_ours = value.get("user_id") == str(caller.id) and value.get("path") == request.url.path
    return value["secret"] if is_ours else None


def clear_secret(request: Request, response: Response) -> None:
    if COOKIE in request.cookies:
        response.delete_cookie(COOKIE, path=request.url.path)
