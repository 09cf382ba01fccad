"""States are told apart without hue: the contrasts of the stylesheet's fills, and a shape for each state."""

import re

import orjson
import pytest

from windsock.web.charts import KINDS, run_sparkline
from windsock.web.templates import static

CSS = static("windsock.css")[0].decode()
FILLS = ("ok", "bad", "upstream", "skipped", "retry", "on", "wait")


def colours(scheme: str) -> dict[str, str]:
    """The custom properties of the light or the dark scheme."""
    found = re.findall(r"--([\w-]+): light-dark\((#\w+), (#\w+)\)", CSS)
    return {name: dark if scheme == "dark" else light for name, light, dark in found}


def luminance(colour: str) -> float:
    """Relative luminance as in WCAG 2."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_failed_fill_differs_from_success_in_luminance(scheme: str) -> None:
    found = colours(scheme)
    assert contrast(found["bad-fill"], found["ok-fill"]) >= 3
    for fill in FILLS:
        assert contrast(found[f"{fill}-fill"], found["raised"]) >= 3, fill


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_state_text_is_readable_on_its_ground(scheme: str) -> None:
    found = colours(scheme)
    for text, ground in (
        *(("bad", "bad-soft"), ("ok", "raised"), ("upstream", "raised"), ("wait", "wait-soft"), ("on", "on-soft")),
        *(("quiet", "other-soft"), ("upstream", "hover"), ("quiet", "hover"), ("ok", "hover"), ("raised", "bad-fill")),
    ):
        assert contrast(found[text], found[ground]) >= 4.5, (text, ground)


def test_badges_of_different_states_have_different_shapes() -> None:
    shapes = dict(re.findall(r'\.state\.(\w+)::before(?:, [^{]+)? \{ content: "(.)"', CSS))
    states = ("success", "failed", "upstream_failed", "up_for_retry", "skipped", "running", "queued")
    assert len({shapes[state] for state in states}) == len(states)
    assert "\N{HEAVY CHECK MARK}" not in shapes.values()


def test_sparkline_marks_failures_with_cross() -> None:
    for status, kind in KINDS.items():
        run = {"id": "1", "external_id": "r", "status": status, "duration_seconds": 1.0}
        picture = str(run_sparkline(orjson.dumps([run]), "finance"))
        assert f'<rect class="{kind}"' in picture
        assert ('class="mark' in picture) == (kind in {"bad", "upstream"})
