"""Kept facts: what a Consul client stated about its service and no field of an instance holds.

They are JSON under one key of the instance's meta, so that Consul's clients read what was written, wherever they ask,
after a restart too. The key is not shown to them. Another node may have written anything there: what does not have this
form is ignored.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gossipreg.check import Check, CheckKind
from gossipreg.frontends.serving import kept_meta
from gossipreg.json_documents import read_json
from gossipreg.model import Instance
from gossipreg.values import frozen

#: The key of the meta.
KEPT: Final = kept_meta.CONSUL

#: Fields of a service that are shown as they were written, to be read by others: those of the mesh, and a socket file.
AS_WRITTEN: Final = ("Kind", "Proxy", "Connect", "SocketPath")


@frozen
class KeptCheck:
    """What a client calls one check: our names are shorter and plainer."""

    id: str
    title: str  # empty if it gave none
    notes: str
    type: str


@frozen
class Standing:
    """The state of a check that no agent runs, as it was written."""

    status: str
    output: str


@frozen(kw_only=True)
class KeptService:
    """What is kept of one service. ``checks`` are by our names."""

    has_address: bool = True  # False: it gave none, so that its node's is meant
    tagged: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    override: bool = False
    region: str = ""
    warning_weight: int | None = None
    maintenance: str = ""  # of a node: why it drains
    checks: Mapping[str, KeptCheck] = attrs.field(factory=dict)
    node: str = ""  # the one that it was written for, without an agent of its own
    id: str = ""  # as it was written, if it was
    standings: Mapping[str, Standing] = attrs.field(factory=dict)  # of the checks that were written, by their ids
    extra: Mapping[str, Any] = attrs.field(factory=dict)  # shown as it was written

    def text(self) -> str:
        """As it is kept: without what is as usual."""
        told: dict[str, Any] = {
            "Address": self.has_address,
            "TaggedAddresses": dict(self.tagged),
            "EnableTagOverride": self.override,
            "Region": self.region,
            "Warning": self.warning_weight,
            "Maintenance": self.maintenance,
            "Node": self.node,
            "ID": self.id,
            "Standings": {id_: attrs.astuple(each) for id_, each in self.standings.items()},
            "Extra": dict(self.extra),
        }
        usual: dict[str, Any] = {
            "Address": True,
            "TaggedAddresses": {},
            "EnableTagOverride": False,
            "Region": "",
            "Warning": None,
            "Maintenance": "",
            "Node": "",
            "ID": "",
            "Standings": {},
            "Extra": {},
        }
        told = {key: value for key, value in told.items() if value != usual[key]}
        told["Checks"] = {name: attrs.astuple(check) for name, check in self.checks.items()}
        return json.dumps(told, separators=(",", ":"), ensure_ascii=False)


def kept_of(instance: Instance) -> KeptService | None:
    """What is kept of an instance; None if no client of Consul's has registered it."""
    text = instance.meta.get(KEPT)
    return None if text is None else _read(text)


def shown_meta(instance: Instance) -> dict[str, str]:
    """The meta of an instance as its client gave it."""
    return kept_meta.meta_as_given(instance)


def type_of(check: Check) -> str:
    """What Consul calls a kind of check."""
    return "script" if check.kind is CheckKind.COMMAND else str(check.kind)


@functools.lru_cache(maxsize=8192)
def _read(text: str) -> KeptService | None:
    try:
        told = read_json(text)
        return _Reader(told).service()
    except (ValueError, TypeError, KeyError):
        return None


class _Reader:
    """Reads what is kept. Raises ``TypeError`` for a value of another type than its field's."""

    def __init__(self, told: Any) -> None:
        self._told = _typed(told, dict)

    def service(self) -> KeptService:
        """What it says."""
        warning = self._told.get("Warning")
        return KeptService(
            has_address=_typed(self._told.get("Address", True), bool),
            tagged={key: _tagged(each) for key, each in self._table("TaggedAddresses").items()},
            override=_typed(self._told.get("EnableTagOverride", False), bool),
            region=_typed(self._told.get("Region", ""), str),
            maintenance=_typed(self._told.get("Maintenance", ""), str),
            node=_typed(self._told.get("Node", ""), str),
            id=_typed(self._told.get("ID", ""), str),
            standings={id_: _standing(each) for id_, each in self._table("Standings").items()},
            extra=self._table("Extra"),
            warning_weight=None if warning is None else _typed(warning, int),
            checks={name: _check(each) for name, each in self._table("Checks").items()},
        )

    def _table(self, key: str) -> dict[str, Any]:
        table: dict[str, Any] = _typed(self._told.get(key, {}), dict)
        return table


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(kind)
    return value


def _tagged(value: Any) -> Mapping[str, Any]:
    table = _typed(value, dict)
    return {"Address": _typed(table["Address"], str), "Port": _typed(table["Port"], int)}


def _standing(value: Any) -> Standing:
    status, output = (_typed(each, str) for each in _typed(value, list))
    if status not in ("passing", "warning", "critical"):
        raise ValueError(status)
    return Standing(status, output)


def _check(value: Any) -> KeptCheck:
    id_, title, notes, type_ = (_typed(each, str) for each in _typed(value, list))
    return KeptCheck(id_, title, notes, type_)
