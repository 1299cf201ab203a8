"""Targets of files: settings and services in TOML, rows of the data directory, and the snapshot."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgpack

from gossipreg.check import Check
from gossipreg.cli.settings import load
from gossipreg.errors import ConfigError, InvalidInstance
from gossipreg.model import Instance
from gossipreg.protocol.registry.payload import BadPayload, pack_instance
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import pack
from gossipreg.runtime.checks.ttl_state import UnusableTtlState, unpack
from gossipreg.runtime.definitions import DefinitionFiles
from gossipreg.runtime.policy_writer import unpack_policy, unpack_term
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.saved_state import StateRows
from gossipreg.runtime.snapshot_file import _DIGEST_BYTES, _MAGIC, _digest, _packed, _unpacked, _Unusable
from tests.fuzz.target import Target, check_error_text, outcome
from tests.fuzz.targets.wire import messages

_PLACE: Final = Path(tempfile.gettempdir()) / f"gossipreg-fuzz-{hashlib.sha256(__file__.encode()).hexdigest()[:8]}"


def _file(data: bytes) -> Path:
    """Return a file with these bytes, always at the same path."""
    import os

    place = _PLACE.with_name(f"{_PLACE.name}-{os.getpid()}.toml")
    place.write_bytes(data)
    return place


# Settings, and services


def _settings(data: bytes) -> str:
    file = _file(data)
    try:
        config = load({}, {}, file)
    except ConfigError as error:
        check_error_text(error)
        return f"{str(error).replace(str(file), '')[:32]}"
    finally:
        file.unlink()
    return f"config {config.name is None} {config.join!s:.10}"


def _settings_seeds() -> Iterator[bytes]:
    yield (
        b'name = "a"\nbind = "127.0.0.1:0"\njoin = ["10.0.0.1:7946", "b"]\ncluster = "c"\n'
        b"[protocol]\nprobe_interval = 1.5\n"
    )
    yield (
        b'http = "127.0.0.1:8500"\ndns = "127.0.0.1:8600"\nzone = "north"\ninsecure = true\n'
        b'[[services]]\nservice = "x"\n'
    )
    yield b"[protocol]\nprobe_timeout = 2\nprobe_interval = 1\nindirect_probes = 3\nbuddy = false\n"


def _instances(data: bytes) -> str:
    file = _file(data)
    try:
        read = DefinitionFiles(file, None, commands=True).read()
    finally:
        file.unlink()
    for wrong in read.wrong:
        check_error_text(wrong)
    return " ".join([f"{len(read.located)}", *(str(wrong).replace(str(file), "")[:32] for wrong in read.wrong)])


def _instances_seeds() -> Iterator[bytes]:
    yield b'[[services]]\nservice = "orders"\nport = 80\n'
    yield b'[[services]]\nservice = "orders"\nport = "80"\n'
    yield (
        b'[[services]]\nservice = "orders"\nport = 80\nid = "o"\nhost = "10.0.0.1"\ntags = ["a"]\nmeta = {a = "b"}\n'
        b'weight = 2\nzone = "north"\nrole = "primary"\nterm = 3\ncredentials = {user = "u"}\n'
        b'[[services.checks]]\nhttp = "http://127.0.0.1/"\ninterval = "1s"\n[[services.checks]]\nttl = 5\n'
    )


# Rows of the data directory


def _rows(data: bytes) -> str:
    """Kind, zero, key, zero, body: complete rows, as another version may have written them."""
    kind, _, rest = data.partition(b"\0")
    key, _, body = rest.partition(b"\0")
    rows = StateRows()
    flaw = rows.read(kind, key, body)
    if flaw is not None:
        return f"flaw {kind[:8]!r}"
    saved = rows.saved(())
    try:
        for key_text, each in saved.policies.items():
            unpack_policy(key_text, each)
        for key_text, each in saved.terms.items():
            unpack_term(key_text, each)
        for each in saved.checks.values():
            unpack(each, (Check(ttl=5.0),), 100.0, 1_767_225_600.0)
    except (Junk, UnusableTtlState) as error:
        return outcome(error)
    for key_text, each in saved.instances.items():
        try:
            registration = LocalRegistration.unpack(each, id=key_text, owner="a")
        except (InvalidInstance, BadPayload) as error:
            check_error_text(error)
            return outcome(error)
        again = LocalRegistration.unpack(registration.packed(), id=key_text, owner="a")
        assert (again.instance, again.checks, again.maintenance) == (
            registration.instance,
            registration.checks,
            registration.maintenance,
        )
    return f"used {kind[:8]!r}"


def _row(kind: str, key: str, body: bytes) -> bytes:
    return kind.encode() + b"\0" + key.encode() + b"\0" + body


def _row_seeds() -> Iterator[bytes]:
    yield _row("identity", "", json.dumps({"name": "a", "generation": 5, "index": 6}).encode())
    yield _row("peers", "", b'[["10.0.0.1", 7946], ["::1", 1]]')
    yield _row("drain", "", b'{"reason": "why"}')
    instance = Instance(id="i", service="orders", host="10.0.0.1", port=80, owner="a")
    yield _row("instance", "i", pack_instance(instance))
    yield _row("instance", "i", LocalRegistration(instance, (Check(ttl=5.0),), "why", defined=True).packed())
    for each in messages():
        if isinstance(each, PolicyVersion):
            yield _row("policy", each.key, pack(each))
        elif isinstance(each, TermRegister):
            yield _row("term", each.service, pack(each))
    state = {
        "ttl": 5.0,
        "health": "passing",
        "reason": "",
        "since": 1_767_225_600.0,
        "beats_until": 1_767_225_605.0,
        "output": "",
        "heard": True,
    }
    yield _row("checks", "i", msgpack.packb({"ttl": state}))


# The snapshot


def _snapshot(data: bytes) -> str:
    """First byte: with a correct digest, or unchanged."""
    whole, data = data[:1] == b"w", data[1:]
    if whole:
        data = _MAGIC + _digest(data) + data
    try:
        known = _unpacked(data, "fuzz")
    except _Unusable as flaw:
        return str(flaw)[:20]
    for instances in known.services.values():
        for each in instances:
            each.check()
    return f"known {min(len(known.services), 2)} {min(len(known.terms), 2)}"


def _snapshot_seeds() -> Iterator[bytes]:
    instance = Instance(id="i", service="orders", host="10.0.0.1", port=80, owner="b", role="primary", term=3)
    terms = tuple(each for each in messages() if isinstance(each, TermRegister))
    body = _packed(Path("x"), "fuzz", {"orders": (instance,)}, terms)
    yield b"w" + body
    yield b"r" + _MAGIC + _digest(body) + body
    yield b"r" + _MAGIC + bytes(_DIGEST_BYTES)


TARGETS: Final = (
    Target(
        "settings",
        "a file is a configuration or ConfigError",
        _settings,
        _settings_seeds,
        (b"[protocol]\n", b" = ", b"inf", b"nan", b"true", b'"""', b"\n[[services]]\n", b"1e400"),
        cost=2,
    ),
    Target(
        "instances",
        "a file defines services, or says what is wrong by ConfigError",
        _instances,
        _instances_seeds,
        (b"[[services]]\n", b"[[services.checks]]\n", b" = ", b"inf", b"nan", b"1979-05-27", b"ttl = 5\n"),
        cost=2,
    ),
    Target(
        "rows",
        "a row is used, or is known to be of no use; what is used packs alike",
        _rows,
        _row_seeds,
        (b"\xa6checks", b"\xa7defined", b"\xabmaintenance"),
    ),
    Target(
        "snapshot",
        "a snapshot is used or _Unusable; what is used can be called",
        _snapshot,
        _snapshot_seeds,
        (b"\xa8services", b"\xa7written", b"\xa5terms", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),
    ),
)
