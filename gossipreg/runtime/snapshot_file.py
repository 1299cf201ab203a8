"""Snapshot file: the instances that could be called lately, for a node that starts while it can reach no member.

It is read once, at the start. Until the node has reached a member, lookups of services that it knows nothing about are
answered from the file, marked stale. Then the content is dropped for good: what the cluster does not know is gone. The
file is written whenever its content would change, but at most every few seconds, and only while the node is in touch
with other members, so that an outage does not empty it.

A file that is damaged, or of another cluster, is renamed: nothing in it is trusted.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import attrs
import msgpack
import trio

from gossipreg import limits
from gossipreg.errors import StorageError
from gossipreg.model import FENCED, PRIMARY, Health, Instance
from gossipreg.msgpack_documents import read_msgpack
from gossipreg.protocol.registry.payload import BadPayload, pack_instance, unpack_instance
from gossipreg.protocol.registry.roles import fenced
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import message_of, pack
from gossipreg.runtime.files import MAKE, read_file, sync_directory
from gossipreg.runtime.supervision import run_contained
from gossipreg.values import frozen

if TYPE_CHECKING:
    from gossipreg.runtime.node_context import NodeContext

log = logging.getLogger(__name__)

#: Least time between two writes (seconds): a busy cluster changes all the time, and the file is for outages only.
WRITE_SECONDS: Final = 2.0

#: Least time between two looks at whether anything is to be written (seconds).
_LOOK_SECONDS: Final = 0.1

#: When the file is written again though nothing has changed (seconds): its age tells when the cluster was last seen.
RENEW_SECONDS: Final = 600.0

#: How old its content may become (seconds). Addresses get reused: after a day without contact, an address is more
#: likely wrong than right.
AGE_SECONDS_MAX: Final = 86_400.0

#: Below this share of reachable instances, those that were lost at once are kept in the file.
_PANIC: Final = 0.5

#: The first bytes of the file; the number is raised when the format of the rest changes.
_MAGIC: Final = b"gossipreg last known 1\n"
_DIGEST_BYTES: Final = 32

Services = Mapping[str, tuple[Instance, ...]]


@frozen
class SnapshotContent:
    """The content of a file: the instances that could be called, marked stale, and when that was written."""

    services: Services
    written: float  # unix seconds
    terms: tuple[TermRegister, ...] = ()  # of all services, also of those without an instance to call


@attrs.define(eq=False, repr=False)
class SnapshotFile:
    """The snapshot of one node."""

    path: Path
    cluster: str
    _content: SnapshotContent | None = None
    _kept: Services = attrs.field(init=False, factory=dict)  # what is in the file that this node wrote
    _kept_terms: tuple[TermRegister, ...] = attrs.field(init=False, default=())
    _kept_at: float = attrs.field(init=False, default=-float("inf"))
    _failing: bool = attrs.field(init=False, default=False)

    @classmethod
    async def open(cls, path: Path, cluster: str) -> Self:
        """Read the file, if there is one. Raises ``StorageError`` if it cannot be read or its directory is missing."""
        return cls(path, cluster, await trio.to_thread.run_sync(_read, path, cluster, time.time()))

    def begin(self, context: NodeContext) -> None:
        """Have the node of ``context``, which knows nothing yet, answer from the file."""
        content, self._content = self._content, None
        if content is None:
            return
        context.driver.say(context.engine.recall((), trio.current_time(), terms=content.terms))
        others = {name: _without(instances, context.name) for name, instances in content.services.items()}
        highest = context.engine.state.terms.claimed
        services = {name: fenced(instances, term=highest(name)) for name, instances in others.items() if instances}
        if services:
            context.engine.view.recall(services)
            age = max(0.0, time.time() - content.written)
            log.warning(
                "until a member is reached, %s is answered from: services %d, age %s",
                self.path,
                len(services),
                _span(age),
            )
            end = functools.partial(self._end, context, max(0.0, AGE_SECONDS_MAX - age))
            context.driver.nursery.start_soon(run_contained, context.counters, "the end of the snapshot", end)

    async def _end(self, context: NodeContext, seconds: float) -> None:
        """Log when lookups are no longer answered from the file: a member was reached, or it has become too old."""
        with trio.move_on_after(seconds) as in_time:
            await _changes_until(context, lambda: not context.engine.view.recalled)
        if in_time.cancelled_caught:
            context.driver.say(context.engine.forget_recalled())
            log.warning("%s is no longer used for answers: it is %s old", self.path, _span(AGE_SECONDS_MAX))
        elif not context.is_closed:
            log.info("a member was reached: %s is no longer used for answers", self.path)

    async def keep(self, context: NodeContext) -> None:
        """Write what can be called whenever it has changed, until cancelled; and once more then."""
        try:
            while not context.change_log.closed:
                position = context.change_log.position
                await trio.sleep(WRITE_SECONDS if await self._note(context) else _LOOK_SECONDS)
                with trio.move_on_after(RENEW_SECONDS):
                    await context.change_log.wait(position)
        finally:
            with trio.CancelScope(shield=True):
                await self._note(context)

    async def _note(self, context: NodeContext) -> bool:
        """Write the file if that is due. Returns whether it was."""
        engine, now = context.engine, trio.current_time()
        if engine.view.recalled or not engine.members.present or engine.isolation.is_isolated(now):
            return False  # the view is incomplete now
        services, terms = _callable(context), tuple(engine.state.terms)
        if (services, terms) == (self._kept, self._kept_terms) and now - self._kept_at < RENEW_SECONDS:
            return False
        try:
            await trio.to_thread.run_sync(_write, self.path, self.cluster, context.name, services, terms)
        except OSError as error:  # a full disk must not stop a node that serves
            if not self._failing:
                log.warning("the snapshot %s is not written: %s", self.path, error.strerror)
            self._failing = True
        else:
            self._kept, self._kept_terms, self._kept_at, self._failing = services, terms, now, False
        return True


async def _changes_until(context: NodeContext, condition: Callable[[], bool]) -> None:
    while not condition() and not context.change_log.closed:
        await context.change_log.wait(context.change_log.position)


def _callable(context: NodeContext) -> dict[str, tuple[Instance, ...]]:
    """The instances of other members that can be called, by service; this node registers its own again by itself."""
    found = {}
    for name, view in sorted(context.engine.view.services.items()):
        lost = view.lost
        instances = lost.instances if lost is not None and lost.share < _PANIC else view.healthy
        if others := _without(instances, context.name):
            found[name] = others
    return found


def _without(instances: tuple[Instance, ...], owner: str) -> tuple[Instance, ...]:
    return tuple(each for each in instances if each.owner != owner)


# The file


def _write(path: Path, cluster: str, member: str, services: Services, terms: tuple[TermRegister, ...] = ()) -> None:
    """Write it at ``path``, whole or not at all. Raises ``OSError``."""
    body = _packed(path, cluster, services, terms)
    new = path.with_name(f"{path.name}.new-{member}")  # others may keep theirs at the same path
    new.unlink(missing_ok=True)  # left by a killed process
    descriptor = os.open(new, MAKE, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(_MAGIC + _digest(body) + body)
            file.flush()
            os.fsync(descriptor)
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _packed(path: Path, cluster: str, services: Services, terms: tuple[TermRegister, ...]) -> bytes:
    said: dict[str, list[tuple[str, str, bytes]]] = {}
    room = limits.SNAPSHOT_BYTES_MAX - len(_MAGIC) - _DIGEST_BYTES - 1024
    for name, instances in services.items():
        rows = [(each.id, each.owner, pack_instance(_as_claimed(each))) for each in instances]
        room -= len(name) + 16 + sum(len(id) + len(owner) + len(payload) + 16 for id, owner, payload in rows)
        if room < 0:
            log.warning("the snapshot %s is full: %d services are not in it", path, len(services) - len(said))
            break
        said[name] = rows
    registers = [pack(register) for register in terms]
    body = {"cluster": cluster, "written": time.time(), "services": said, "terms": registers}
    packed: bytes = msgpack.packb(body)
    return packed


def _as_claimed(instance: Instance) -> Instance:
    """The instance in the role that it claims, which alone can be read back."""
    return attrs.evolve(instance, role=PRIMARY) if instance.role == FENCED else instance


def _read(path: Path, cluster: str, now: float) -> SnapshotContent | None:
    """The content of the file, if it can be used. Raises ``StorageError``."""
    try:
        read = read_file(path, limits.SNAPSHOT_BYTES_MAX)
        read.check_trusted()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise StorageError(f"snapshot: there is no directory {path.parent}: make it, or name another") from None
        return None
    except OSError as error:
        if path.is_file():  # another user's, or on a bad block: the node starts without it
            _set_aside(path, f"it cannot be read: {error.strerror}")
            return None
        remedy = "make it a file that this user can read and write, or name another"
        raise StorageError(f"snapshot: cannot read {path}: {error.strerror}: {remedy}") from None
    try:
        content = _unpacked(read.content, cluster)
    except _Unusable as flaw:
        _set_aside(path, str(flaw))
        return None
    if now - content.written > AGE_SECONDS_MAX:
        log.info("the snapshot %s is not used: it is %s old", path, _span(now - content.written))
        return None
    return content


class _Unusable(Exception):
    """What is wrong with a file."""


def _unpacked(data: bytes, cluster: str) -> SnapshotContent:
    body = data[len(_MAGIC) + _DIGEST_BYTES :]
    if not data.startswith(_MAGIC):
        raise _Unusable("it is no snapshot, or of another version")
    if data[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES] != _digest(body):
        raise _Unusable("it is damaged")
    try:
        said = read_msgpack(body)
        if said["cluster"] != cluster:
            raise _Unusable(f"it is of the cluster {said['cluster']!r}")
        services = {name: _instances(rows) for name, rows in said["services"].items()}
        content = {name: instances for name, instances in services.items() if instances}
        return SnapshotContent(content, float(said["written"]), _registers(said.get("terms", []), content))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _Unusable("it is of another version") from None


def _registers(rows: list[bytes], services: Services) -> tuple[TermRegister, ...]:
    """The term registers that can be read here; a file of an earlier version has only what its instances state."""
    found: dict[str, TermRegister] = {}
    for row in rows:
        with contextlib.suppress(Junk):
            register = message_of(row)
            if isinstance(register, TermRegister):
                found[register.service] = register
    for name, instances in services.items():
        for each in instances:
            if each.term:
                found[name] = found.get(name, TermRegister(name)).raised(_as_claimed(each))
    return tuple(found.values())


def _instances(rows: list[tuple[str, str, bytes]]) -> tuple[Instance, ...]:
    """The instances that can be read here, as they are shown."""
    found = []
    for id_, owner, payload in rows:
        with contextlib.suppress(BadPayload):
            read = unpack_instance(payload, id=id_, owner=owner)
            found.append(attrs.evolve(read, health=Health.PASSING, reason="", stale=True))
    return fenced(tuple(sorted(found, key=lambda each: (each.id, each.owner))))


def _set_aside(path: Path, flaw: str) -> None:
    names = (path.with_name(f"{path.name}.aside-{n}") for n in itertools.count(1))
    aside = next(name for name in names if not name.exists())
    try:
        path.rename(aside)
    except FileNotFoundError:
        return  # another node that shares it has done so
    except OSError as error:
        raise StorageError(f"snapshot: cannot set {path} aside, for {flaw}: {error.strerror}: remove it") from None
    log.warning("the snapshot %s is not used (%s): it was set aside under the name %s", path, flaw, aside.name)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES, person=b"gossipreg known").digest()


def _span(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
