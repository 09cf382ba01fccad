"""Latency of the inbox with 10,000 open incidents, as the API and the page answer it, against its budget."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import psycopg

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(ROOT / "tests"), str(ROOT / "demo")]

from bench.api.run import prepared, say, superuser_url  # noqa: E402 - found below the repository
from bench.api.seeding import Fleet, Size  # noqa: E402
from bench.api.servers import Server, cpu_of_postgres, windsock  # noqa: E402

OPEN = 10_000
FLEET = Size("inbox", 2 * OPEN, 8, 2, 1)
"""Half of the pipelines are of the largest space, each with an open incident."""
MAX_P95_MS = 100
REQUESTS = 40
"""Of each path in a round."""
MAX_PAGES = 200

SEED = """
INSERT INTO teams (space_id, name) SELECT %(space_id)s, 'team_' || n FROM generate_series(1, 20) n;
INSERT INTO team_members (space_id, team_id, user_id)
SELECT space_id, id, %(user_id)s FROM teams WHERE space_id = %(space_id)s AND name IN ('team_3', 'team_4');
UPDATE pipelines p SET team_id = t.id FROM teams t
WHERE p.space_id = %(space_id)s AND t.space_id = %(space_id)s AND t.name = 'team_' || (1 + abs(hashtext(p.name)) % 20);
INSERT INTO fingerprints (space_id, pipeline_id, hash, algorithm_version, title, grouped_by, first_seen_at,
                          last_seen_at)
SELECT space_id, id, decode(md5(name), 'hex'), 1, 'ValueError: table ' || hashtext(name) % 200 || ' has no rows',
       'message', now(), now()
FROM pipelines WHERE space_id = %(space_id)s;
INSERT INTO incidents (space_id, connector_id, pipeline_id, kind, state, fingerprint_id, first_run_id, last_run_id,
                       occurrences, opened_at, last_failed_at, acknowledged_by_user_id, acknowledged_at, snoozed_until,
                       assignee_user_id, assignee_team_id, resolved_at)
SELECT p.space_id, p.connector_id, p.id, s.kind, s.state, f.id, r.first_id, r.last_id, 1 + h.luck % 7,
       now() - make_interval(secs => 60 + h.luck % 500000), now(),
       CASE s.state WHEN 'acknowledged' THEN %(user_id)s::uuid END,
       CASE s.state WHEN 'acknowledged' THEN now() END, CASE s.state WHEN 'snoozed' THEN now() + interval '1 day' END,
       CASE h.luck % 50 WHEN 0 THEN %(user_id)s::uuid END,
       CASE h.luck % 50 WHEN 1 THEN (SELECT id FROM teams t WHERE t.space_id = p.space_id AND t.name = 'team_3') END,
       CASE s.state WHEN 'resolved' THEN now() END
FROM pipelines p
JOIN fingerprints f ON f.space_id = p.space_id AND f.pipeline_id = p.id
CROSS JOIN LATERAL (SELECT (array_agg(id ORDER BY run_at))[1] AS first_id,
                           (array_agg(id ORDER BY run_at DESC))[1] AS last_id
                    FROM runs x WHERE x.space_id = p.space_id AND x.pipeline_id = p.id) r
CROSS JOIN (VALUES ('failed', 'open', 1), ('import_error', 'acknowledged', 10), ('approval', 'snoozed', 20),
                   ('failed', 'resolved', 1), ('failed', 'resolved', 1), ('failed', 'resolved', 1))
           s (kind, state, every)
CROSS JOIN LATERAL (SELECT abs(hashtext(p.id::text || s.kind || s.state)) AS luck) h
WHERE p.space_id = %(space_id)s AND h.luck % s.every = 0;
INSERT INTO incident_events (space_id, incident_id, kind, run_id, happened_at, evaluated_at)
SELECT space_id, id, 'opened', first_run_id, opened_at, now() FROM incidents WHERE space_id = %(space_id)s;
"""


def seed_incidents(url: str, fleet: Fleet) -> dict[str, int]:
    """Return the number of incidents by state, of the largest space."""
    names = {"space_id": fleet.space_id, "user_id": fleet.user_id}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = windsock, pg_temp; SET session_replication_role = replica")
        for statement in SEED.split(";\n"):
            if statement.strip():
                connection.execute(statement.replace(" % ", " %% ").encode(), names)
        connection.execute("SET session_replication_role = origin")
        connection.execute("VACUUM (ANALYZE)")
        count = "SELECT state, count(*) FROM incidents GROUP BY state ORDER BY state"
        return dict(connection.execute(count).fetchall())


class Client:
    """Sends requests one after the other on one connection, as a member with an API key and a session."""

    def __init__(self, server: Server, fleet: Fleet) -> None:
        self._http = httpx2.Client(base_url=server.url, timeout=60, headers={"Accept-Encoding": "identity"})
        self._key = {"Authorization": f"Bearer {fleet.key}"}
        signed_in = self._http.post("/sign-in", data={"api_key": fleet.key}, headers={"Origin": server.url})
        if not signed_in.is_redirect:
            raise RuntimeError(f"no session: {signed_in.status_code}")

    def get(self, path: str) -> httpx2.Response:
        response = self._http.get(path, headers=self._key if path.startswith("/api") else {"Accept": "text/html"})
        response.raise_for_status()
        return response

    def measure(self, path: str) -> list[float]:
        """Return the milliseconds of each request of a round."""
        taken = []
        for _ in range(REQUESTS):
            started = time.perf_counter()
            self.get(path)
            taken.append((time.perf_counter() - started) * 1e3)
        return taken

    def last_page(self, path: str) -> tuple[int, str]:
        """Return the number and the path of the last page that is reached by cursor."""
        page, found = 1, path
        while page < MAX_PAGES and (cursor := self.get(found).headers.get("x-next-cursor")):
            page, found = page + 1, f"{path}&cursor={cursor}"
        return page, found


def scenarios(client: Client, fleet: Fleet) -> dict[str, str]:
    """Return the path of each."""
    api, page = f"/api/v1.0/spaces/{fleet.slug}/incidents", f"/spaces/{fleet.slug}/inbox"
    team = client.get(f"{api}?size=500").json()
    (team_id,) = {row["team"]["id"] for row in team if row["team"] and row["team"]["name"] == "team_3"}
    filters = {
        "": {},
        "state=open": {"state": "open"},
        "kind=failed": {"kind": "failed"},
        "criticality=low": {"criticality": "low"},
        "team": {"team_id": team_id},
        "mine": {"mine": "true"},
        "q, few": {"q": "table 77"},
        "q, none": {"q": "zebra"},
        "newest": {"sort": "newest"},
    }
    found = {}
    for name, values in filters.items():
        query = urlencode({"sort": "urgency", "size": 100} | values)
        found[f"API, {name or 'unresolved'}"] = f"{api}?{query}"
    middle, last = client.last_page(f"{api}?sort=urgency&size=100")
    found[f"API, page {middle} by cursor"] = last
    for name, values in filters.items():
        if "sort" not in values:
            found[f"page, {name or 'unresolved'}"] = f"{page}?{urlencode(values)}"
    cursor = last.rpartition("=")[2]
    return found | {f"page, page {middle} by cursor": f"{page}?cursor={cursor}"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each path, in turns")
    chosen = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="windsock-bench-"))
    folder.chmod(0o711)
    rounds: dict[str, list[list[float]]] = {}
    cpu: dict[str, list[tuple[float, float]]] = {}
    try:
        with prepared(folder, FLEET) as (storage, fleet, postmaster):
            say(f"incidents: {seed_incidents(superuser_url(storage), fleet)}")
            with windsock("windsock", folder / "data", folder) as server:
                client = Client(server, fleet)
                paths = scenarios(client, fleet)
                for number in range(chosen.rounds + 1):
                    for name, path in paths.items():
                        before = server.cpu(), cpu_of_postgres(postmaster)
                        taken = client.measure(path)
                        used = server.cpu() - before[0], cpu_of_postgres(postmaster) - before[1]
                        if number:  # the first one warms up
                            rounds.setdefault(name, []).append(taken)
                            cpu.setdefault(name, []).append((used[0] / REQUESTS * 1e3, used[1] / REQUESTS * 1e3))
                    say(f"round {number} of {chosen.rounds}, load average {os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    is_met = True
    print("| request | p50 ms | p95 ms | server CPU ms | database CPU ms | bound | met |")  # noqa: T201
    print("|---|---|---|---|---|---|---|")  # noqa: T201
    for name, taken_by_round in rounds.items():
        # Other load on the machine only adds to a round: the quietest one is the nearest to what is measured.
        p50 = min(statistics.median(taken) for taken in taken_by_round)
        p95 = min(statistics.quantiles(taken, n=20)[-1] for taken in taken_by_round)
        is_met &= p95 <= MAX_P95_MS
        verdict = "yes" if p95 <= MAX_P95_MS else "**no**"
        server_cpu, database_cpu = (min(used) for used in zip(*cpu[name], strict=True))
        cells = (
            name,
            f"{p50:.1f}",
            f"{p95:.1f}",
            f"{server_cpu:.1f}",
            f"{database_cpu:.1f}",
            f"≤ {MAX_P95_MS}",
            verdict,
        )
        print(f"| {' | '.join(cells)} |")  # noqa: T201
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
