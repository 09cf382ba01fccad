"""Installs a pinned Airflow into a virtual environment of its own, away from Windsock's."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Version = Literal["3.4", "3", "2"]

HERE: Final = Path(__file__).parent
# Airflow 3.3 on CPython 3.11 dies of a segmentation fault after large answers, so 3.11 is its last resort.
PYTHONS: Final[dict[Version, tuple[str, ...]]] = {
    "3.4": ("3.12", "3.13", "3.11"),
    "3": ("3.12", "3.13", "3.11"),
    "2": ("3.11", "3.12"),
}


class InstallFailed(Exception):
    pass


def requirements(version: Version) -> Path:
    """The pins of that Airflow: made by `uv pip compile --universal --python-version 3.11 --no-header --no-annotate`.

    Its input, a line each: `apache-airflow==3.3.2 psycopg2-binary asyncpg`; or
    `apache-airflow==2.11.2 psycopg2-binary`; or, a beta until 3.4.0 is in the package index,
    `apache-airflow==3.4.0b2 psycopg2-binary asyncpg`.
    """
    return HERE / f"airflow{version.replace('.', '')}-requirements.txt"


def install(version: Version, into: Path, log: Callable[[str], None]) -> Path:
    """Make the environment and return its folder; instant when it is there with the same pins."""
    into = into.absolute()
    into.parent.mkdir(parents=True, exist_ok=True)
    with (into.parent / f"{into.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        marker = into / "windsock-installed"
        pins = requirements(version).read_bytes()
        state = hashlib.sha256(pins).hexdigest()
        if (into / "bin" / "python").exists() and marker.is_file() and marker.read_text() == state:
            return into
        if into.exists():
            log(f"Removing an unfinished or outdated Airflow in {into}.")
            shutil.rmtree(into)
        uv = _find_uv()
        python = _find_python(uv, version)
        log(f"Installing Airflow {version} with {python} into {into}.")
        _run(uv, "venv", "--quiet", "--no-project", "--python", python, str(into))
        _run(
            uv, "pip", "install", "--quiet", "--python", str(into / "bin" / "python"), "-r", str(requirements(version))
        )
        marker.write_text(state)
        return into


def _find_uv() -> str:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise InstallFailed("uv was not found. Install it, or name it in the environment variable UV.")
    return uv


def _find_python(uv: str, version: Version) -> str:
    """An interpreter that was seen to run: a found one may be a shim for a Python that is not there."""
    for wanted in PYTHONS[version]:
        for candidate in _candidates(uv, wanted):
            found = _call(candidate, "-c", "import ssl, sys, venv; print('%d.%d' % sys.version_info[:2])")
            if found.returncode == 0 and found.stdout.strip() == wanted:
                return candidate
    raise InstallFailed(f"Airflow {version} needs one of the Pythons {', '.join(PYTHONS[version])}; none was found.")


def _candidates(uv: str, wanted: str) -> Iterator[str]:
    """What uv finds, then what lies in pyenv: uv gives up at pyenv's shims, although the Python behind them works."""
    found = _call(uv, "python", "find", "--no-project", "--system", wanted)
    if found.returncode == 0:
        yield found.stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for python in sorted((pyenv / "versions").glob(f"{wanted}.*/bin/python"), reverse=True):
        yield str(python)


def _run(*command: str) -> None:
    done = _call(*command)
    if done.returncode != 0:
        raise InstallFailed(f"`{' '.join(command[1:3])}` failed:\n{done.stderr[-4000:]}")


def _call(*command: str) -> subprocess.CompletedProcess[str]:
    """In the caller's environment, since it says where packages come from; but a Python is never downloaded."""
    ignored = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT"}
    environment = {name: value for name, value in os.environ.items() if name not in ignored}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
