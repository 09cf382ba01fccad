"""`make demo`: a real Airflow 3, a Windsock that mirrors it, and what to type to look at it."""

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from airflow_install import InstallFailed
from airflow_lab import AirflowFailed, AirflowLab, install, seed_runs

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".demo"
PORT = 8420
SPACE, CONNECTOR, TEAM = "demo", "airflow-demo", "finance"
STOP_SECONDS = 25

console = Console(highlight=False)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--once", action="store_true", help="show what there is, then stop instead of waiting")
    once: bool = arguments.parse_args().once
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell has had it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HOME.mkdir(exist_ok=True)
    try:
        run(once=once)
    except KeyboardInterrupt:
        console.print("\nStopped Windsock and Airflow.")
    except (AirflowFailed, InstallFailed) as error:
        sys.exit(str(error))


def run(*, once: bool) -> None:
    environment = step("Installing Airflow 3 (once)", lambda: install("3", ROOT / ".airflow" / "3", lambda _: None))
    with AirflowLab("3", environment, HOME / "airflow") as lab:
        with console.status("Starting Airflow") as status:
            lab.wait_ready(lambda waiting_for: status.update(f"Starting Airflow: {waiting_for}"))
        console.print(f"[green]✓[/] Airflow {lab.version} at {lab.url}  (user {lab.username}, password {lab.password})")
        step("Triggering the sample DAGs", lambda: seed_runs(lab))
        key = step("Preparing Windsock's database, space and key", get_key)
        with serving() as url:
            console.print(f"[green]✓[/] Windsock at {url}")
            with httpx2.Client(
                base_url=f"{url}/api/v1.0", headers={"Authorization": f"Bearer {key}"}, timeout=60
            ) as api:
                connector = ensure_connector(api, lab)
                sync(api, connector)
                wait_for_runs(api)
                ensure_team(api)
                explain(api, url, key, lab)
            if once:
                return
            while True:
                time.sleep(5)
                lab.revive()


def step(title: str, do: Any) -> Any:  # noqa: ANN401 - gives what `do` gives
    started = time.monotonic()
    with console.status(title):
        result = do()
    console.print(f"[green]✓[/] {title} [dim]{time.monotonic() - started:.0f} s[/]")
    return result


def windsock(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "windsock", *arguments, "--data", str(HOME / "windsock")]


def get_key() -> str:
    """The key of an earlier demo when it still works, else a new one; kept for the owner of the file alone."""
    stored = HOME / "api-key"
    key: str | None = facts("init", "--email", "demo@example.com", "--space", SPACE, "--name", "Demo")["key"]
    if key is None and stored.exists():
        return stored.read_text()
    key = key or str(facts("key", "create", "--email", "demo@example.com")["key"])
    stored.touch(mode=0o600)
    stored.write_text(key)
    return key


def facts(*arguments: str) -> Any:  # noqa: ANN401 - JSON
    with (HOME / "commands.log").open("ab") as log:
        return orjson.loads(subprocess.check_output(windsock(*arguments, "--json"), stderr=log))


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """`windsock serve` in a process of its own; its log goes to a file."""
    port = PORT if is_free(PORT) else free_port()
    log_path = HOME / "windsock.log"
    with log_path.open("wb") as log:
        # A session of its own, so that Ctrl-C reaches us alone and we stop it in order.
        process = subprocess.Popen(
            windsock("serve", "--port", str(port)), stdout=log, stderr=log, start_new_session=True, cwd=ROOT
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, process, log_path)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        with contextlib.suppress(httpx2.HTTPError):
            if httpx2.get(f"{url}/health/ready").status_code == 200:  # noqa: PLR2004 - 200 is its own name
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    sys.exit(f"Windsock did not start. The end of {log}:\n{tail}")


def ensure_connector(api: httpx2.Client, lab: AirflowLab) -> str:
    """The demo's connector, pointed to where Airflow is this time."""
    where = f"/catalog/spaces/{SPACE}/connectors"
    body: dict[str, Any] = {
        "name": CONNECTOR,
        "config": {"base_url": lab.url, "sync_interval_seconds": 15},
        "credentials": {"auth_type": "password", "username": lab.username, "password": lab.password},
    }
    known = [row for row in json_of(api.get(where)) if row["name"] == CONNECTOR]
    if not known:
        connector = json_of(api.post(where, json=body | {"connector_type": "airflow"}))
    elif known[0]["config"]["base_url"] != lab.url:
        connector = json_of(api.patch(f"{where}/{known[0]['id']}", json=body))
    else:
        connector = known[0]
    return str(connector["id"])


def sync(api: httpx2.Client, connector: str) -> None:
    """Ask for a sync and show how far it is."""
    started = api.post(f"/spaces/{SPACE}/orchestration/connectors/{connector}/sync")
    now = json_of(started)
    columns = (TextColumn("  Syncing: {task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=None)
        while now["status"] in {"queued", "running"}:
            time.sleep(0.3)
            now = json_of(api.get(started.headers["location"].removeprefix("/api/v1.0")))
            progress.update(
                bar,
                description=now["phase"],
                total=now["coverage"]["expected"] or None,
                completed=now["coverage"]["read"],
            )
    counts = {kind.replace("_", " "): sum(now[kind].values()) for kind in ("pipelines", "runs", "task_runs")}
    read = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "nothing new"
    mark = "[green]✓[/]" if now["status"] == "complete" else "[red]✗[/]"
    console.print(f"{mark} Sync {now['status']}: {read}, {now['provider_requests']} requests to Airflow")
    for sentence in [*now["warnings"], *([now["error"]] if now["error"] else [])]:
        console.print(f"  [yellow]![/] {sentence}")


def wait_for_runs(api: httpx2.Client) -> None:
    """Until some of the triggered runs have ended; the server syncs every 15 s by itself."""
    with console.status("Waiting for the first runs to end (they go on while you look)"):
        for _ in range(60):
            rows = json_of(api.get(f"/spaces/{SPACE}/orchestration/pipelines"))
            states = {row["status"] for row in rows}
            if {"success", "failed"} <= states:
                return
            time.sleep(2)


def ensure_team(api: httpx2.Client) -> None:
    """The finance team, which owns the pipelines whose owner in Airflow is finance."""
    where = f"/spaces/{SPACE}/teams"
    teams = {team["name"]: team["id"] for team in json_of(api.get(where))}
    team_id = teams.get(TEAM) or json_of(api.post(where, json={"name": TEAM}))["id"]
    pipelines = f"/spaces/{SPACE}/orchestration/pipelines"
    for row in json_of(api.get(pipelines, params={"owner": TEAM})):
        if row["team_id"] is None:
            json_of(api.patch(f"{pipelines}/{row['id']}/team", json={"team_id": team_id}))


def explain(api: httpx2.Client, url: str, key: str, lab: AirflowLab) -> None:
    where = f"/spaces/{SPACE}/orchestration"
    rows = json_of(api.get(f"{where}/pipelines"))
    failed = next((row for row in rows if row["status"] == "failed"), rows[0])
    base = f"{url}/api/v1.0{where}"
    console.print(f"\n[bold]Windsock[/]  {url}  (open it, and sign in with the key)")
    console.print(f"[bold]API key[/]   {key}\n[bold]Airflow[/]   {lab.url}\n")
    for row in rows:
        recent_runs = "".join(
            {"success": "●", "failed": "✗", "running": "▸", "queued": "…"}.get(r["status"], "·")
            for r in row["recent_runs"]
        )
        console.print(f"  {row['name']:<24} {row['status']:<8} {recent_runs:<14} {row['owner'] or ''}")
    console.print("\nThe pipelines, the runs of one that failed, and its newest run with every task:\n")
    header = f"-H 'Authorization: Bearer {key}'"
    for address in (
        f"{base}/pipelines",
        f"{base}/pipelines/{failed['id']}/runs",
        f"{base}/runs/{failed['last_run']['id']}" if failed["last_run"] else f"{base}/pipelines/{failed['id']}",
    ):
        print(f"curl -s {header} '{address}' | python3 -m json.tool | head -40")
    console.print(f"\nOr with commands ([bold]{url}/api/v1.0/docs[/] is the API's reference):\n")
    print(f"export WINDSOCK_URL={url} WINDSOCK_API_KEY={key} WINDSOCK_SPACE={SPACE}")
    command = Path(sys.executable).with_name("windsock").relative_to(ROOT)
    print(f"{command} runs --team {TEAM} --status failed --since today")
    fix = """--conf '{"account": "DE-45"}' --note 'the new account' --wait"""
    print(f"{command} trigger invoice_export {fix}")
    console.print("\nIts data stays in .demo; `make demo` again is quick. [bold]Ctrl-C[/] stops everything.")


def json_of(response: httpx2.Response) -> Any:  # noqa: ANN401 - JSON
    if response.is_error:
        sys.exit(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")
    return response.json()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
