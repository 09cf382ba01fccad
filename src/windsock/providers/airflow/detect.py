"""Finds out which of the two APIs an Airflow has, and whether it is new enough."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from windsock.errors import ProviderBadResponse, ProviderFailed, ProviderHTTPError
from windsock.providers.airflow.errors import PATH_HINT, WrongApiVersion
from windsock.providers.airflow.http import ApiResponse
from windsock.providers.airflow.recognition import VERSION_PATHS, ApiVersion, recognize
from windsock.providers.base import ApiVersionInfo

_OTHER: dict[ApiVersion, ApiVersion] = {"v1": "v2", "v2": "v1"}
_OLDEST = (2, 6)


async def detect_version(get: Callable[[str], Awaitable[ApiResponse]], forced: ApiVersion | None) -> ApiVersionInfo:
    """Ask for the version, first of v2, unless one is `forced`; `get` asks without signing in.

    Raises WrongApiVersion when the forced one is not there but the other is, ProviderBadResponse when this is no
    Airflow or one that is too old. Measured: v2 is a 404 page on 2.x, v1 a 404 in JSON on 3.x.
    """
    name = forced or "v2"
    first = await _find(get, name)
    if isinstance(first, ApiVersionInfo):
        return first
    other = await _find(get, _OTHER[name])
    if isinstance(other, ApiVersionInfo):
        if forced is None:
            return other
        raise WrongApiVersion(
            f"This is Airflow {other.version}, which has /api/{other.api_version} and no /api/{forced}.",
            hints=(f"Set api_version to auto or {other.api_version}.",),
        )
    failure = other if isinstance(other, _NotAirflow) else first
    if not failure.hints:
        failure.hints = (PATH_HINT,)
    raise failure


async def _find(
    get: Callable[[str], Awaitable[ApiResponse]], api_version: ApiVersion
) -> ApiVersionInfo | ProviderFailed:
    """The identity, or why this API is not there; trouble that says nothing about the version is raised."""
    try:
        return await _ask(get, api_version)
    except _TooOld:
        raise
    except ProviderBadResponse as nonsense:
        return nonsense
    except ProviderHTTPError as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        return refused


class _NotAirflow(ProviderBadResponse):
    def __init__(self, path: str) -> None:
        super().__init__(
            f"GET {path} was answered with JSON, but not with the version of an Airflow.",
            hints=("Another program seems to answer at base_url; check host, port and path.",),
            is_transient=False,
        )


class _TooOld(ProviderBadResponse):
    def __init__(self, version: str) -> None:
        super().__init__(
            f"This is Airflow {version}; Windsock needs 2.6 or newer.",
            hints=("Before 2.6 Airflow cannot tell what has changed (it has no filter on updated_at).",),
            is_transient=False,
        )


async def _ask(get: Callable[[str], Awaitable[ApiResponse]], api_version: ApiVersion) -> ApiVersionInfo:
    path = VERSION_PATHS[api_version]
    version = recognize(api_version, (await get(path)).body)
    if version is None:
        raise _NotAirflow(path)
    if version.numbers < _OLDEST:
        raise _TooOld(version.text)
    return ApiVersionInfo(api_version=api_version, version=version.text)
