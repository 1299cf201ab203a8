"""Differences: what a Eureka server and an agent answer to the same requests, compared and written down as a page.

Two answers are the same if clients read the same from them. Times, versions and the order of instances differ from run
to run; of an error, clients read the status, and people Eureka's sentence. What an agent adds to metadata (a weight, a
zone) is not compared.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs
import httpx

from gossipreg.frontends.eureka.xml import key_of_name, read_xml
from tests.peers.eureka.requests import REASONS, Case, Step

PAGE: Final = Path(__file__).parents[3] / "docs" / "clients" / "eureka-differences.md"

#: Names the file to which the page is written; without it, nothing is.
VARIABLE: Final = "GOSSIPREG_EUREKA_PAGE"

#: Times after this (ms since 1970) were made by a server, and differ from run to run.
_MADE_BY_SERVERS: Final = 1_500_000_000_000

#: What an agent adds to metadata.
_ADDED: Final = frozenset({"weight", "zone", "@class"})

#: How Eureka's server begins an error that people read. Its other errors are pages of its framework.
_SENTENCES: Final = ("Missing ", "Mismatched ", "cannot parse request body")

_PAGE: Final = """# Eureka: what differs from Spring Cloud's server

Made by a test, which sends the same requests to the Eureka server of {version} and to an agent, and compares all
answers. It fails for a difference without a reason. To make the page anew:

    GOSSIPREG_EUREKA_PAGE=docs/clients/eureka-differences.md pytest -m slow tests/peers/eureka/test_differential.py

How to use the API is told in [Eureka](eureka.md).

{asked} requests: {same} answers are the same, {accepted} differ for a reason below, {different} differ without one.

Not compared: times, `versions__delta` (the agent's change index), the order of instances, the action of an instance,
the `weight` and `zone` that the agent adds to metadata, and what else than Eureka's own sentences stands in an error.

| reason | requests | such as |
|---|---:|---|
{rows}
"""


@attrs.frozen
class Answer:
    """What of an answer clients read."""

    status: int
    media: str
    document: Any

    @classmethod
    def of(cls, response: httpx.Response, case: Case, step: Step) -> Answer:
        """The answer to a step of a case."""
        media = response.headers.get("content-type", "").partition(";")[0]
        if response.status_code >= 400:
            return cls(response.status_code, "", _sentence(response.text))
        if step.method != "GET" or not response.content:
            return cls(response.status_code, media if step.method == "GET" else "", None)
        is_json = response.content.lstrip()[:1] == b"{"
        tree = response.json() if is_json else read_xml(response.content)
        return cls(response.status_code, media, _normalised(tree, case, step, is_json=is_json))


def _sentence(text: str) -> str:
    """Eureka's words in an error; empty if it has none."""
    for begin in _SENTENCES:
        place = text.find(begin)
        if place >= 0:
            return begin if begin == "cannot parse request body" else text[place:]
    return ""


def _normalised(tree: dict[str, Any], case: Case, step: Step, *, is_json: bool) -> Any:
    """A document without what differs from run to run. Of lists of changes, what is of the case's application."""
    [(root, inner)] = tree.items()
    if root == "instance":
        return {root: _instance(inner, is_json=is_json)}
    changes = "delta" in step.path
    if root == "application":
        return {root: _application(inner, is_json=is_json)}
    inner = inner if isinstance(inner, dict) else {}
    apps = [_application(each, is_json=is_json) for each in _list(inner.get("application"))]
    shown = [each for each in apps if each["name"] == case.app] if changes else apps
    return {
        root: {
            "apps__hashcode": inner.get("apps__hashcode"),
            "application": sorted(shown, key=lambda each: each["name"]),
        }
    }


def _application(tree: dict[str, Any], *, is_json: bool) -> dict[str, Any]:
    instances = [_instance(each, is_json=is_json) for each in _list(tree.get("instance"))]
    latest = {str(each.get("instanceId", each.get("hostName"))): each for each in instances}
    return {"name": tree["name"], "instance": [latest[key] for key in sorted(latest)]}


def _instance(tree: dict[str, Any], *, is_json: bool) -> dict[str, Any]:
    shown = {key: _timeless(value) for key, value in tree.items()}
    if isinstance(shown.get("leaseInfo"), dict):
        shown["leaseInfo"] = {
            key: value if not key.endswith("Timestamp") else _timeless(value)
            for key, value in shown["leaseInfo"].items()
        }
        del shown["leaseInfo"]["evictionTimestamp"]
    if "metadata" in shown:
        metadata = shown["metadata"] if isinstance(shown["metadata"], dict) else {}
        if not is_json:
            metadata = {key_of_name(key): value for key, value in metadata.items() if key != "$"}
        shown["metadata"] = {key: value for key, value in metadata.items() if key not in _ADDED}
    assert shown.pop("actionType") in ("ADDED", "MODIFIED", "DELETED")
    return shown


def _timeless(value: Any) -> Any:
    text = str(value)
    if not isinstance(value, bool | dict | list) and text.isdigit() and len(text) < 19 and int(text) > _MADE_BY_SERVERS:
        return "now" if isinstance(value, str) else 1
    return value


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


@attrs.frozen
class Compared:
    """One step of a case, and both answers."""

    case: Case
    step: Step
    theirs: Answer
    ours: Answer

    @property
    def is_same(self) -> bool:
        """Whether clients read the same."""
        return self.theirs == self.ours

    def __str__(self) -> str:
        return (
            f"{self.case.name}: {self.step}\n"
            f"  theirs {self.theirs.status} {self.theirs.media} {json.dumps(self.theirs.document, sort_keys=True)}\n"
            f"  ours   {self.ours.status} {self.ours.media} {json.dumps(self.ours.document, sort_keys=True)}"
        )


def page(compared: Iterable[Compared], version: str) -> str:
    """The page about a run."""
    all_of_it = list(compared)
    same = sum(each.is_same for each in all_of_it)
    accepted = [each for each in all_of_it if not each.is_same and each.step.reason]
    counts = Counter(each.step.reason for each in accepted)
    first = {each.step.reason: each for each in reversed(accepted)}
    rows = [
        f"| {REASONS[key]} | {count} | {_escaped(f'{first[key].case.name}: {first[key].step}')} |"
        for key, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    return _PAGE.format(
        version=version,
        asked=len(all_of_it),
        same=same,
        accepted=len(accepted),
        different=len(all_of_it) - same - len(accepted),
        rows="\n".join(rows),
    )


def _escaped(text: str) -> str:
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"
