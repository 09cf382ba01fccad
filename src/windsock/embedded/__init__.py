"""The embedded PostgreSQL: find or start, stop and recover the server of a data directory."""

from windsock.embedded.errors import EmbeddedPostgresError
from windsock.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]
