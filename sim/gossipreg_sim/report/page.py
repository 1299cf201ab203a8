"""HTML report: a self-contained page that shows the state of a run at any moment, without network or server."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from typing import Any, Final

import attrs

from gossipreg_sim.report import packing
from gossipreg_sim.report.curves import curves_of, sides_of, worst_moment
from gossipreg_sim.report.heat_map import heat_map_of
from gossipreg_sim.report.recording import Recording
from gossipreg_sim.report.timeline import bands_of, marks_of
from gossipreg_sim.report.traffic import traffic_of
from gossipreg_sim.summary import as_lines

#: The scripts of the page, in dependency order.
_SCRIPTS: Final = ("data.js", "paint.js", "heat.js", "ring.js", "lanes.js", "timeline.js", "curves.js", "main.js")

_PAGE: Final = files("gossipreg_sim.report") / "page"


def page_of(recording: Recording, name: str) -> str:
    """Return the page as HTML. ``name`` is the scenario as given on the command line."""
    page = (_PAGE / "page.html").read_text("utf-8")
    parts = {
        "title": escape(f"{recording.scenario.name}, seed {recording.outcome.seed}"),
        "style": (_PAGE / "page.css").read_text("utf-8"),
        "script": "\n".join((_PAGE / script).read_text("utf-8") for script in _SCRIPTS),
        "facts": json.dumps(facts_of(recording, name), separators=(",", ":")).replace("</", "<\\/"),
    }
    for key, text in parts.items():
        page = page.replace("{{" + key + "}}", text)
    return page


def facts_of(recording: Recording, name: str) -> dict[str, Any]:
    """Return the page's data as a JSON document. Times are in seconds, except `end` and `curves.step` (µs)."""
    outcome, scenario = recording.outcome, recording.scenario
    heat = heat_map_of(recording)
    curves = curves_of(recording, heat)
    traffic = traffic_of(recording)
    seed = f"--seed {outcome.seed}"
    columns = {f"heat.{key}": text for key, text in heat.packed().items()}
    columns |= {f"packets.{key}": text for key, text in traffic.packed().items()}
    columns["sizes"] = packing.compressed(packing.varints(size for second in curves.sizes for size in second))
    figures = attrs.asdict(curves)
    del figures["sizes"]
    return {
        "title": scenario.title,
        "about": _about(recording, traffic.left_out),
        "good": outcome.is_good,
        "command": f"gossipreg sim run {shlex.quote(name)} {seed}",
        "why": [f"gossipreg sim why {shlex.quote(name)}", seed],
        "digest": outcome.digest,
        "end": recording.end // 1000,
        "warmup": scenario.warmup,
        "names": scenario.node_names,
        "sides": sides_of(heat, worst_moment(curves, round(scenario.warmup * 1e6))),
        "bands": [attrs.asdict(band) for band in bands_of(recording)],
        "marks": [attrs.asdict(mark) for mark in marks_of(recording)],
        "oracles": list(_oracles(recording)),
        "wrong": _problem_lines(recording),
        "counts": outcome.marks,
        "culprits": traffic.culprits,
        "spacing": heat.spacing,
        "curves": figures,
        "columns": columns,
    }


def _about(recording: Recording, left_out: int) -> str:
    outcome, scenario = recording.outcome, recording.scenario
    healed = "the nodes never all agreed after the heal"
    if outcome.healed_in is not None:
        healed = f"all agreed {outcome.healed_in:.2f} s after faults ended, or sooner"
    said = [
        f"{scenario.name}, seed {outcome.seed}",
        f"{scenario.nodes} nodes",
        f"{outcome.seconds:.1f} s",
        f"{outcome.packets:,} packets, {outcome.frames:,} frames, {outcome.bytes:,} bytes",
        f"{healed} (bound {outcome.bound:.1f} s)",
    ]
    if left_out:
        said.append(f"the last {left_out:,} packets are not on this page")
    return " · ".join(said)


def _oracles(recording: Recording) -> Iterator[tuple[str, str, int, int]]:
    outcome = recording.outcome
    for name, checks in outcome.checks.items():
        law = ": ".join(filter(None, (outcome.laws[name], outcome.notes[name])))
        yield name, law, checks, sum(violation.oracle == name for violation in outcome.violations)


def _problem_lines(recording: Recording) -> list[str]:
    """Return the lines of the summary that report problems."""
    lines = list(as_lines(recording.outcome, 1.0, ""))
    wanted = ("violation: ", "not live: ", "vacuous: ")
    return [line for line in lines if line.startswith(wanted)]
