"""Values of our own classes in frames: each is a msgpack extension with its class's name and its fields.

A field that has its default is left out. A field that the reader does not know is left out, too, so an agent of a later
release may add some; a class that it does not know makes the frame unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, Final

import attrs
import msgpack

from gossipreg.errors import GossipregError

#: The type of msgpack's extensions that a value is.
_CODE: Final = 1

#: The classes that may be sent, by name, and where each is: loaded with the first one that comes.
_MODULES: Final = {
    "Address": "gossipreg.address",
    **dict.fromkeys(
        ("Health", "Instance", "Member", "ServiceCount", "ServiceTerm", "Status"),
        "gossipreg.model",
    ),
    **dict.fromkeys(
        ("CheckEvent", "InstanceEvent", "MemberEvent", "NodeEvent", "RoleEvent", "Snapshot"),
        "gossipreg.events",
    ),
    **dict.fromkeys(("CellInfo", "RegionInfo", "RegionalDirectory", "RegionalService"), "gossipreg.regional"),
    **dict.fromkeys(("LinkState", "MemberObservation", "ObserverReport"), "gossipreg.observations"),
    **dict.fromkeys(("JoinFailure", "NodeInfo"), "gossipreg.node_info"),
    **dict.fromkeys(("Check", "CheckKind", "CheckReport"), "gossipreg.check"),
    **dict.fromkeys(("Maintenance", "Policy", "Split", "UnreadablePolicy", "WeightOverride"), "gossipreg.policy"),
    "PreparedQuery": "gossipreg.prepared_query",
    "GossipKey": "gossipreg.keys",
}

#: What an attached process has no use for: it asks its agent for the credentials of an instance.
_NOT_SENT: Final = frozenset({("Instance", "sealed")})


def is_sent(value: object) -> bool:
    """Whether ``value`` is of a class of our own that may be sent."""
    kind = type(value)
    return kind.__name__ in _MODULES and _class(kind.__name__) is kind


def default(value: object) -> Any:
    """What msgpack is to pack in place of ``value``. Raises ``TypeError`` for what is never sent."""
    kind: Any = type(value)
    if is_sent(value):
        if isinstance(value, Enum):
            return msgpack.ExtType(_CODE, msgpack.packb([kind.__name__, value.value]))
        fields = {name: got for name, unset in _fields(kind) if (got := getattr(value, name)) != unset}
        return msgpack.ExtType(_CODE, msgpack.packb([kind.__name__, fields], default=default, strict_types=True))
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{kind.__name__} is not sent to attached processes")


def ext_hook(code: int, data: bytes) -> Any:
    """The value that an extension holds. Raises ``ValueError``."""
    if code != _CODE:
        raise ValueError(f"an extension type {code}")
    name, content = msgpack.unpackb(data, ext_hook=ext_hook, use_list=False)
    if name not in _MODULES:
        raise ValueError("a value of a class that this release does not know")
    kind = _class(name)
    if issubclass(kind, Enum):
        return kind(content)
    if not isinstance(content, dict):
        raise ValueError(f"no fields of {name}")  # noqa: TRY004 -- what msgpack's callers expect of bad bytes
    known = _names(kind)
    try:
        return kind(**{field: each for field, each in content.items() if field in known})
    except (GossipregError, AttributeError) as error:
        raise ValueError(f"no {name}: {error}") from None


@cache
def _class(name: str) -> Any:
    found: type[Any] = getattr(import_module(_MODULES[name]), name)
    return found


@cache
def _fields(kind: Any) -> tuple[tuple[str, object], ...]:
    """The fields of a class, each with the value in which it is left out."""
    if issubclass(kind, tuple):  # a named one, such as an address
        return tuple((name, attrs.NOTHING) for name in kind._fields)
    sent = (each for each in attrs.fields(kind) if (kind.__name__, each.name) not in _NOT_SENT)
    return tuple((each.name, _unset(each.default)) for each in sent)


def _unset(default: Any) -> object:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # it is a class
        return attrs.NOTHING if default.takes_self else default.factory()
    return default  # NOTHING equals no value


@cache
def _names(kind: Any) -> frozenset[str]:
    return frozenset(name for name, _ in _fields(kind))
