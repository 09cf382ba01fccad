"""Output on terminals that cannot show every character, and arguments that are no text in the encoding of one."""

import codecs
import sys
from io import TextIOWrapper
from typing import Any

import click

HANDLER = "windsock.terminal"
SIGNS = {"✓": "+", "✗": "x", "▸": ">", "…": ".", "»": ">", "↻": "~", "·": "-", "↳": ">"}
"""As wide as what they stand for, so that tables stay straight."""


def _replace(error: UnicodeError) -> tuple[str, int]:
    """For codecs.register_error: a sign in ASCII, else an escape as in JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(SIGNS.get(character) or _escape(character) for character in characters), error.end


def _escape(character: str) -> str:
    """As JSON does: a backslash, u and four digits, and twice that beyond U+FFFF."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def write_json(text: str) -> None:
    """One JSON value, in ASCII where the terminal's encoding cannot hold it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = "".join(character if character.isascii() else _escape(character) for character in text)
    click.echo(text)


class ListFirst(click.Group):
    """A group whose command `list` is meant where the first argument names no command of it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["list", *args]
        return super().parse_args(ctx, args)


class Commands(click.Group):
    """The group of all commands."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as click has it
        codecs.register_error(HANDLER, _replace)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors=HANDLER)
        return super().main(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Python reads bytes that are no text of the terminal's encoding as halves of surrogate pairs."""
        if any("\ud800" <= character <= "\udfff" for argument in args for character in argument):
            raise click.UsageError("An argument is not text in the encoding of this terminal, such as UTF-8.", ctx)
        return super().parse_args(ctx, args)
