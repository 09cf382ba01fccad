"""The DAG graph of a pipeline as SVG, with the states of its newest run: a layered layout from left to right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from windsock.pipelines.task_history import TaskHistory, TaskState
from windsock.web.charts import status_class

MAX_TASKS, MAX_NODES = 100, 1_000
"""In a drawing: tasks, and tasks together with the bends of long edges."""
WIDTH, HEIGHT, COLUMN, ROW, MARGIN = 158, 26, 188, 38, 10
MAX_NAME = 20
SWEEPS = 4
MARKS = {"ok": "✓", "bad": "✕", "upstream": "⊘", "retry": "↻", "on": "▶", "skipped": "»", "wait": "…"}

Node = tuple[str, int]
"""A task and its layer; in the other layers of a long edge, the bend of that edge."""


@dataclass(slots=True)
class Layout:
    """`layers` from left to right, each from top to bottom; `row` is the vertical position of a node."""

    layers: list[list[Node]] = field(default_factory=list)
    edges: list[tuple[Node, Node]] = field(default_factory=list)
    row: dict[Node, float] = field(default_factory=dict)


def lay_out(successors: Mapping[str, Sequence[str]], depths: Mapping[str, int]) -> Layout | None:
    """Sugiyama's method: layers by depth, bends for long edges, crossings reduced by sorting by the mean of neighbours.

    None for a graph that is unknown or too large to be drawn.
    """
    if not depths or len(depths) > MAX_TASKS:
        return None
    layout = Layout([[] for _ in range(max(depths.values()) + 1)])
    for task, depth in sorted(depths.items()):
        layout.layers[depth].append((task, depth))
    nodes = len(depths)
    for task, behind in sorted(successors.items()):
        for successor in sorted(set(behind)):
            last: Node = (task, depths[task])
            for layer in range(depths[task] + 1, depths[successor]):
                bend = (f"{task}\0{successor}", layer)
                layout.layers[layer].append(bend)
                layout.edges.append((last, bend))
                last, nodes = bend, nodes + 1
            layout.edges.append((last, (successor, depths[successor])))
            if nodes > MAX_NODES:
                return None
    _place(layout)
    return layout


def _place(layout: Layout) -> None:
    before: dict[Node, list[Node]] = {}
    behind: dict[Node, list[Node]] = {}
    for source, target in layout.edges:
        before.setdefault(target, []).append(source)
        behind.setdefault(source, []).append(target)
    for layer in layout.layers:
        layout.row |= {node: float(place) for place, node in enumerate(layer)}
    for sweep in range(SWEEPS):
        neighbours, layers = (behind, layout.layers[::-1]) if sweep % 2 else (before, layout.layers)
        for layer in layers:
            _sort_by_neighbours(layer, neighbours, layout.row)
    top = min(layout.row.values())
    layout.row = {node: row - top for node, row in layout.row.items()}


def _sort_by_neighbours(layer: list[Node], neighbours: Mapping[Node, Sequence[Node]], row: dict[Node, float]) -> None:
    """Each node as near to the mean of its neighbours as the distance of one row between nodes allows."""
    wanted = {}
    for node in layer:
        rows = [row[neighbour] for neighbour in neighbours.get(node, ())]
        wanted[node] = sum(rows) / len(rows) if rows else row[node]
    layer.sort(key=lambda node: (wanted[node], row[node]))
    last = None
    for node in layer:
        last = row[node] = wanted[node] if last is None else max(wanted[node], last + 1)
    shift = sum(row[node] - wanted[node] for node in layer) / len(layer)
    for node in layer:
        row[node] -= shift


def task_graph_svg(history: TaskHistory) -> Markup | None:
    """None where there is no layout."""
    layout = lay_out(history.successors, history.depths)
    if layout is None:
        return None
    states = history.newest()
    width = (len(layout.layers) - 1) * COLUMN + WIDTH + 2 * MARGIN
    height = round(max(layout.row.values()) * ROW + HEIGHT + 2 * MARGIN)
    drawn = [_edge(layout, *edge) for edge in layout.edges]
    drawn += [
        _task(name, states.get(name), _left(layer), _middle(layout, (name, layer)))
        for nodes in layout.layers
        for name, layer in nodes
        if "\0" not in name
    ]
    label = f"Graph of {len(history.depths)} tasks"
    return Markup(  # noqa: S704 - escaped below
        f'<svg class="graph" width="{width}" height="{height}" role="img" aria-label="{label}">{"".join(drawn)}</svg>'
    )


def _left(layer: int) -> int:
    return MARGIN + layer * COLUMN


def _middle(layout: Layout, node: Node) -> float:
    return round(MARGIN + HEIGHT / 2 + layout.row[node] * ROW, 1)


def _edge(layout: Layout, source: Node, target: Node) -> str:
    """A curve from the right of one node to the left of another; a bend is as wide as a node."""
    x1, x2 = _left(source[1]) + WIDTH, _left(target[1])
    y1, y2, bend = _middle(layout, source), _middle(layout, target), (x2 - x1) / 2
    passes = f"M{x1 - WIDTH} {y1}h{WIDTH}" if "\0" in source[0] else f"M{x1} {y1}"
    return f'<path class="edge" d="{passes}c{bend} 0 {bend} {y2 - y1:g} {2 * bend} {y2 - y1:g}"/>'


def _task(name: str, state: TaskState | None, x: float, y: float) -> str:
    kind = status_class(state.status) if state else "none"
    short = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
    many = f" \N{MULTIPLICATION SIGN}{state.total}" if state and state.total > 1 else ""
    title = f"{name}: {state.status.replace('_', ' ')}{many}" if state else f"{name}: not in the newest run"
    return (
        f'<g class="task {kind}"><title>{escape(title)}</title>'
        f'<rect x="{x}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text class="mark" x="{x + 13}" y="{y + 4.5}" text-anchor="middle">{MARKS.get(kind, "")}</text>'
        f'<text x="{x + 24}" y="{y + 4.5}">{escape(short + many)}</text></g>'
    )
