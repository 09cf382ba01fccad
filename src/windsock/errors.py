"""Every error a caller can receive, with its status and a sentence a person can act on."""

from collections.abc import Mapping
from math import ceil


class WindsockError(Exception):
    """Base of errors with an HTTP `status`; `str(error)` is the message."""

    status = 500

    def __init__(self, sentence: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.headers = dict(headers or {})


class BadRequest(WindsockError):
    status = 400


class NotAuthenticated(WindsockError):
    status = 401

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, headers={"WWW-Authenticate": "Bearer"})


class NotSignedIn(WindsockError):
    """Raised by pages without a session: the browser is redirected to the login page."""

    status = 401


class Forbidden(WindsockError):
    status = 403


class NotFound(WindsockError):
    """Unknown, or of another space: the caller must not be able to tell which."""

    status = 404

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what} in this space.")


class UserNotFound(WindsockError):
    """Users belong to no space."""

    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such user.")


class PageNotFound(WindsockError):
    status = 404


class MethodNotAllowed(WindsockError):
    """A browser opened an address to which forms are only sent."""

    status = 405


class Conflict(WindsockError):
    """`field`: of a form, if it is that field's value that conflicts."""

    status = 409

    def __init__(self, sentence: str, *, field: str | None = None) -> None:
        super().__init__(sentence)
        self.field = field


class IdempotencyConflict(Conflict):
    """An idempotency key was used before, for a request with another body."""


class UnsupportedMediaType(WindsockError):
    """A body that is not JSON, or does not say so."""

    status = 415

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, headers={"Accept": "application/json"})


class Invalid(WindsockError):
    """A value that fits the schema and still cannot be accepted; answered in the shape of a validation error."""

    status = 422

    def __init__(self, sentence: str, *, loc: tuple[str | int, ...], kind: str = "value_error") -> None:
        super().__init__(sentence)
        self.loc = loc
        self.kind = kind


class DatabaseFailed(WindsockError):
    """PostgreSQL did not carry out a transaction for a reason that is not in the request; it may succeed later."""

    status = 503


class Unavailable(DatabaseFailed):
    """An outage: PostgreSQL cannot be reached, or cannot work."""


class Overloaded(Unavailable):
    """PostgreSQL or the connection pool has no connections or memory left."""


class DiskFull(Unavailable):
    """PostgreSQL has no space left to write to."""


class StatementTimedOut(DatabaseFailed):
    """PostgreSQL cancelled a statement that exceeded statement_timeout; not an outage."""


class TooManyStreams(WindsockError):
    """As many responses that stay open as one process may have."""

    status = 503

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, headers={"Retry-After": "10"})


class ProviderFailed(WindsockError):
    """A request to the orchestrator failed: an error status, an invalid response or none.

    `status` is what our caller gets: the provider's own status where it answered, 502 where it could not be reached or
    spoke nonsense, 504 where it took too long. `is_transient` tells whether the same request may succeed later;
    `retry_after` is in seconds, where the provider named it. `said` is the provider's own words, where it had any.
    `request_sent` is False only where it is certain that the provider never got the request. No sentence ever holds a
    credential or a raw HTML body.
    """

    request_sent = True

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        is_transient: bool,
        hints: tuple[str, ...] = (),
        retry_after: float | None = None,
        provider_message: str = "",
    ) -> None:
        headers = {"X-Provider": "airflow"}
        if retry_after is not None:
            headers["Retry-After"] = str(ceil(retry_after))
        super().__init__(sentence, headers=headers)
        self.status = status
        self.provider_message = provider_message
        self.is_transient = is_transient
        self.hints = hints
        self.retry_after = retry_after


class ProviderHTTPError(ProviderFailed):
    """The provider responded with a 4xx or 5xx status."""


class ProviderLacksObject(ProviderHTTPError):
    """The provider itself says that the object named in the request does not exist; another 404 is no evidence."""


class ProviderRejectedCredentials(ProviderHTTPError):
    """401, or 403 where the version answers 403 to a bad password; asking again would only lock the account."""


class ProviderUnreachable(ProviderFailed):
    """No answer: name not found, connection refused or dropped, TLS failure."""

    def __init__(self, sentence: str, *, hints: tuple[str, ...] = (), request_sent: bool = True) -> None:
        super().__init__(502, sentence, is_transient=True, hints=hints)
        self.request_sent = request_sent


class ProviderTimedOut(ProviderFailed):
    def __init__(self, sentence: str, *, hints: tuple[str, ...] = ()) -> None:
        super().__init__(504, sentence, is_transient=True, hints=hints)


class ProviderBadResponse(ProviderFailed):
    """An answer that is not what this API gives: an HTML login page, truncated JSON, a missing key, another product."""

    def __init__(self, sentence: str, *, hints: tuple[str, ...] = (), is_transient: bool = True) -> None:
        super().__init__(502, sentence, is_transient=is_transient, hints=hints)


class ProviderPartlyDone(ProviderFailed):
    """Airflow carried out a part of an action; another client may have changed the rest meanwhile."""

    def __init__(self) -> None:
        super().__init__(
            502, "Airflow carried out only a part of it. Look at the run before you try again.", is_transient=False
        )


class ProviderInconclusive(ProviderFailed):
    """Whether an object exists cannot be found out: its address is not usable, and no list was named to look in."""

    def __init__(self, sentence: str) -> None:
        super().__init__(502, sentence, is_transient=False)


class ProviderIncomplete(ProviderFailed):
    """Fewer rows than promised, or a listing that never stood still: what was read must not be taken for the whole."""

    def __init__(self, sentence: str) -> None:
        super().__init__(502, sentence, is_transient=True)
