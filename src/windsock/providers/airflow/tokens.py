"""Keeps the tokens of sign-ins for later syncs, and remembers where a new token did not help."""

import time
from collections import OrderedDict

from windsock.providers.airflow.recognition import RecognizedServers

SECONDS_OF_A_VAIN_RENEWAL = 900.0
"""A server that begins to refuse old tokens as it refused something else before is signed in to again after that."""


class TokenCache:
    """Sign-in tokens by connector, kept in this process so that an idle sync need not sign in; the oldest go first."""

    def __init__(self, largest: int = 1000) -> None:
        self._largest = largest
        self._tokens: OrderedDict[str, tuple[str, float | None]] = OrderedDict()
        self.recognized = RecognizedServers()
        self._vain: OrderedDict[tuple[str, str], float] = OrderedDict()

    def get(self, key: str) -> str | None:
        token, until = self._tokens.get(key, (None, None))
        if until is not None and time.monotonic() >= until:
            self.drop(key)
            return None
        return token

    def put(self, key: str, token: str, seconds: float | None = None) -> None:
        """`seconds` it is good for; None: until it is refused."""
        self._tokens[key] = token, None if seconds is None else time.monotonic() + seconds
        self._tokens.move_to_end(key)
        while len(self._tokens) > self._largest:
            self._tokens.popitem(last=False)

    def drop(self, key: str) -> None:
        self._tokens.pop(key, None)

    def note_vain(self, key: str, place: str) -> None:
        """A new token was refused at this place as the old one was: the token is not at fault."""
        self._vain[key, place] = time.monotonic() + SECONDS_OF_A_VAIN_RENEWAL
        self._vain.move_to_end((key, place))
        while len(self._vain) > self._largest:
            self._vain.popitem(last=False)

    def was_vain(self, key: str, place: str) -> bool:
        return time.monotonic() < self._vain.get((key, place), 0.0)

    def __repr__(self) -> str:
        return f"TokenCache({len(self._tokens)} tokens)"
