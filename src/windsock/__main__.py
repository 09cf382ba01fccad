"""The commands: `windsock --help`."""

import signal
from types import FrameType

import click

from windsock import __version__
from windsock.cli.account import init, key, login_link
from windsock.cli.actions import clear, mark, note, pause, unpause
from windsock.cli.connectors import connector
from windsock.cli.failures import failures
from windsock.cli.incidents import ack, inbox
from windsock.cli.logs import logs
from windsock.cli.maintenance import migrate, rotate_secrets
from windsock.cli.notifications import notifications
from windsock.cli.pipelines import pipelines, watch
from windsock.cli.runs import comment, runs
from windsock.cli.serve import serve
from windsock.cli.spaces import space
from windsock.cli.sync import sync
from windsock.cli.terminal import Commands
from windsock.cli.trigger import trigger
from windsock.cli.users import user
from windsock.cli.worker import work


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
def main() -> None:
    """Windsock makes Apache Airflow visible to everybody who depends on it."""
    # Unwinding stops the embedded PostgreSQL too. uvicorn stops gracefully on SIGTERM, and then raises it again.
    signal.signal(signal.SIGTERM, _stop)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


for command in (
    init,
    serve,
    work,
    space,
    connector,
    sync,
    pipelines,
    runs,
    comment,
    logs,
    failures,
    inbox,
    ack,
    notifications,
    trigger,
    clear,
    mark,
    pause,
    unpause,
    note,
    watch,
    user,
    key,
    login_link,
    migrate,
    rotate_secrets,
):
    main.add_command(command)

if __name__ == "__main__":
    main()
