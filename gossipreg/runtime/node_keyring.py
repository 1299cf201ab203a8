"""Node keyring: which keys seal the gossip of a running node, by its file and the cluster's statements.

Theory of operation (docs/decisions/0060). One primary key seals, and every key that is held opens, as in Serf's and
Consul's keyrings. A key is replaced in steps, and after each a member that missed it can still read the others:

    step     states                                     is refused while
    ----------------------------------------------------------------------------------------------------------
    add      the key itself, sealed with the primary    the cluster has given it up, or too many are held
    use      which key is primary; for every other one  a present member does not hold it (unless forced)
             when it is given up
    remove   that a key is given up now                 a present member seals with it, or may do so

A step is a statement in the table of policies, so it reaches every member, also one that was away. What a node holds
follows from its file, the statements and the wall clock (`keys_in_force`); `apply` makes it so. The file is read again
when that is asked for. A node states the ids of its keys in a record (`node_record`), from which any other one sees
which members are ready for the next step. A cluster that has never changed its key states nothing.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from gossipreg import limits
from gossipreg.config import Config
from gossipreg.errors import (
    ConfigError,
    GossipInClear,
    GossipregError,
    KeyGivenUp,
    KeyInUse,
    KeyNotHeld,
    TooManyKeys,
    UnknownKey,
)
from gossipreg.key_format import key_id
from gossipreg.keys import KEPT_SECONDS, GossipKey
from gossipreg.model import NODE_SERVICE, Status
from gossipreg.protocol.registry.key_statements import (
    KeysInForce,
    KeyStatement,
    PrimaryKeyStatement,
    Statement,
    is_key_id,
    keys_in_force,
)
from gossipreg.protocol.wire.keyring import GossipKeyring
from gossipreg.runtime.change_log import Entry
from gossipreg.runtime.key_files import NodeKeys
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.node_record import state_keys, stated_keys
from gossipreg.runtime.policy_writer import PolicyWriter
from gossipreg.runtime.registrar import Registrar

log = logging.getLogger(__name__)

#: How long a step waits for members that are not ready for it (seconds). The CLI waits 5 s for an answer.
_WAIT_SECONDS: Final = 3.0

#: How many members a sentence names.
_NAMED_MAX: Final = 5

#: How often a node looks whether a key has come to its end, and whether what it holds is stated (seconds).
_LOOK_SECONDS: Final = 60.0

#: What the change log says when something was stated about keys.
_NEWS: Final[Entry] = ("keys", "")


@attrs.define(eq=False, repr=False)
class NodeKeyring:
    """The keys of one node's gossip. ``keyring`` is that of its codecs; None: the node speaks in clear."""

    keyring: GossipKeyring | None
    _config: Config
    _files: tuple[bytes, ...]
    _context: NodeContext
    _policies: PolicyWriter
    _registrar: Registrar
    _in_force: KeysInForce | None = attrs.field(init=False, default=None)

    def apply(self) -> None:
        """Hold what is in force now."""
        if self.keyring is None:
            return
        before, now = self._in_force, keys_in_force(self._files, self._statements(), time.time())
        self._in_force = now
        if now.keys != self.keyring.keys:
            self.keyring.replace(now.keys)
            self._context.driver.streams.end_unheld()
            ids = self.keyring.ids
            log.info("the gossip is sealed with key %s; keys held: %s", ids[0], ", ".join(ids))
        if now.lacking is not None and (before is None or before.lacking != now.lacking):
            log.warning("%s", self._lacking(now.lacking))
        for id_ in now.given_up:
            if before is None or id_ not in before.given_up:
                log.warning("%s", self._given_up(id_))

    async def follow(self) -> None:
        """Follow the cluster's statements until the node is closed."""
        if self.keyring is None:
            return
        change_log = self._context.change_log
        while not change_log.closed:
            position = change_log.position
            self.apply()
            await self._state_held()
            with trio.move_on_after(self._patience):
                while not self._has_news(position):
                    await change_log.wait_for(_NEWS)

    @property
    def _patience(self) -> float:
        """How long nothing can change by itself (seconds). The wall clock may be set, so it is looked at repeatedly."""
        if self._in_force is None or not self._statements():
            return math.inf
        until = self._in_force.until
        return _LOOK_SECONDS if until is None else min(_LOOK_SECONDS, max(0.0, until - time.time()))

    def _has_news(self, position: int) -> bool:
        """Whether something was stated about keys since ``position`` of the change log."""
        entries = self._context.change_log.since(position)
        return entries is None or _NEWS in entries or self._context.change_log.closed

    async def reread(self) -> None:
        """Read the key files again. Raises ``ConfigError``: then nothing has changed.

        A cluster that was started in clear, or sealed, stays so.
        """
        keys = await trio.to_thread.run_sync(NodeKeys.of, self._config)
        if self.keyring is not None:
            self._files = keys.gossip
            self.apply()
            await self._state_held()
        await self._registrar.use_keyring(keys.credentials)

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the keys, each a sentence."""
        if self._in_force is None:
            return ()
        lacking = () if self._in_force.lacking is None else (self._lacking(self._in_force.lacking),)
        return (*lacking, *map(self._given_up, self._in_force.given_up))

    # What a user asks

    def keys(self) -> tuple[GossipKey, ...]:
        """Every key that this node or another present member holds, the primary one first. None in clear."""
        if self.keyring is None:
            return ()
        held = self._held_by_member()
        ids = dict.fromkeys([*self.keyring.ids, *(id_ for ids in held.values() for id_ in ids)])
        until = {each.id: each.until for each in self._statements() if isinstance(each, KeyStatement)}
        return tuple(self._key(id_, held, until.get(id_)) for id_ in ids)

    def check_sealed(self) -> None:
        """Raise ``GossipInClear`` unless the gossip is sealed."""
        self._sealed()

    async def add(self, key: bytes) -> str:
        """Have every member hold ``key``, too; returns its id. Idempotent.

        It travels to them sealed with the present primary key. Raises ``ConfigError`` for a key of credentials,
        ``KeyGivenUp`` for one that was given up, ``GossipInClear``, ``TooManyKeys``, and what `PolicyWriter` raises.
        """
        keyring = self._sealed()
        id_ = key_id(key)
        if key in self._registrar.keyring.keys:
            raise ConfigError(f"key {id_} seals credentials: make another one with `gossipreg keygen --out FILE`")
        stated = next((each for each in self._statements() if isinstance(each, KeyStatement) and each.id == id_), None)
        if stated is not None and not stated.is_in_force(time.time()):
            raise KeyGivenUp(
                f"key {id_} was given up by the cluster, and may have leaked: make another one with "
                "`gossipreg keygen --out FILE`"
            )
        if id_ not in keyring.ids and len(keyring.ids) >= limits.GOSSIP_KEYS_MAX:
            raise TooManyKeys(
                f"{len(keyring.ids)} keys are held, as many as are allowed: remove one, see `gossipreg keys list`"
            )
        if KeyStatement(id_, key) not in self._statements():
            await self._state(KeyStatement(id_, key))
        return id_

    async def use(self, id_: str, *, kept: float = KEPT_SECONDS, force: bool = False) -> None:
        """Have every member seal with the key of this id; all others are given up after ``kept`` seconds.

        So keys that were planted go as well, and asking again with less time shortens it.
        Waits a moment for members that do not hold it yet. Raises ``ConfigError`` if ``kept`` is not from 0 to
        `limits.GOSSIP_KEY_KEPT_SECONDS_MAX`, ``GossipInClear``, ``UnknownKey`` if this node does not hold it,
        ``KeyNotHeld`` if another present member does not, unless ``force``, and what `PolicyWriter` raises.
        """
        if not 0 <= kept <= limits.GOSSIP_KEY_KEPT_SECONDS_MAX:  # nor a NaN
            raise ConfigError(f"kept: {kept!r} is not a time of 0 to {limits.GOSSIP_KEY_KEPT_SECONDS_MAX:.0f} seconds")
        keyring = self._sealed()
        if id_ not in keyring.ids:
            raise UnknownKey(f"this node holds no key {_shown(id_)}: add it first, see `gossipreg keys list`")
        if not force:
            await self._wait_until_held(id_)
        others = [each.id for each in self.keys() if each.id != id_]
        stated = {each.id: each for each in self._statements() if isinstance(each, KeyStatement)}
        if id_ in stated and stated[id_].until is not None:
            await self._state(attrs.evolve(stated[id_], until=None))
        if PrimaryKeyStatement(id_) not in self._statements():
            await self._state(PrimaryKeyStatement(id_))
        end = time.time() + kept
        for other in others:
            old = stated.get(other, KeyStatement(other))
            if old.until is None or old.until > end:
                await self._state(attrs.evolve(old, until=end))

    async def remove(self, id_: str) -> None:
        """Have every member give up the key of this id at once. A file that holds it is of no use any more.

        Waits a moment for members that have not stated which keys they hold. Raises ``GossipInClear``, ``UnknownKey``,
        ``KeyInUse`` if a present member seals with it, or may do so, and what `PolicyWriter` raises.
        """
        self._sealed()
        await self._wait_while(self._silent)
        self._sealed()  # the node may have been closed meanwhile
        key = next((each for each in self.keys() if each.id == id_), None)
        if key is None:
            raise UnknownKey(f"no member holds a key {_shown(id_)}: see `gossipreg keys list`")
        if key.used_by:
            raise KeyInUse(
                f"key {id_} is used by {_names(key.used_by)}: have the cluster use another one first, with "
                "`gossipreg keys use ID`"
            )
        silent = self._silent()
        if silent:
            raise KeyInUse(
                f"key {id_} may be used by {_names(silent)}, as it is not known which keys are held there: wait, or "
                "have all keys but one given up by `gossipreg keys use ID --keep 0s --force`, which may cut members off"
            )
        await self._state(KeyStatement(id_, until=0.0))

    # How it is done

    def _sealed(self) -> GossipKeyring:
        self._context.check_open()
        if self.keyring is None:
            raise GossipInClear(
                "the gossip of this cluster is in clear, so it has no keys: start every agent with --key-file"
            )
        return self.keyring

    def _statements(self) -> tuple[Statement, ...]:
        return self._context.engine.state.policies.statements

    async def _state(self, statement: Statement) -> None:
        await self._policies.state(statement)
        self.apply()

    async def _state_held(self) -> None:
        """State the ids of the keys that the node holds, once the cluster has begun to change them."""
        assert self.keyring is not None, "in clear there is nothing to state"
        ids = self.keyring.ids
        me = self._context.engine.identity
        is_changing = len(ids) > 1 or bool(self._statements())
        try:
            await state_keys(self._registrar, ids if is_changing else (), host=me.address.host, zone=me.zone)
        except GossipregError as error:
            log.warning("which keys this node holds is not stated: %s", error)

    async def _wait_while(self, lacks: Callable[[], Collection[str]]) -> None:
        """Wait a moment for members that lack something; they may still do so then."""
        change_log = self._context.change_log
        with trio.move_on_after(_WAIT_SECONDS):
            while lacks() and not change_log.closed:
                await change_log.wait(change_log.position)

    def _silent(self) -> tuple[str, ...]:
        """The present members that have not stated which keys they hold, although the cluster changes them."""
        return tuple(name for name, ids in self._held_by_member().items() if not ids)

    async def _wait_until_held(self, id_: str) -> None:
        await self._wait_while(partial(self._lacks, id_))
        keyring = self._sealed()
        if id_ not in keyring.ids:
            raise UnknownKey(f"this node holds no key {_shown(id_)} any more: see `gossipreg keys list`")
        lacks = self._lacks(id_)
        if lacks:
            raise KeyNotHeld(
                f"key {id_} is not held by {_names(lacks)}: what others seal with it would be lost there; wait, or add "
                "it to their files, or use --force"
            )

    def _lacks(self, id_: str) -> tuple[str, ...]:
        return next((each.not_held_by for each in self.keys() if each.id == id_), ())

    def _held_by_member(self) -> Mapping[str, Sequence[str]]:
        """The ids that each present member has stated to hold, the one that it seals with first."""
        assert self.keyring is not None, "in clear there are none"
        engine = self._context.engine
        stated = stated_keys(engine.view.service(NODE_SERVICE).instances)
        # Before the first change every member that is heard has the one key, and states nothing.
        default = self.keyring.ids if len(self.keyring.ids) == 1 and not self._statements() else ()
        cells = engine.state.cells
        known = [*engine.members.snapshot(), *(() if cells is None else cells.remote.snapshot())]
        present = [each.name for each in known if each.status in (Status.ALIVE, Status.SUSPECT)]
        held = {name: stated.get(name) or default for name in sorted(present)}
        return held | {self._context.name: self.keyring.ids}

    def _key(self, id_: str, held: Mapping[str, Sequence[str]], until: float | None) -> GossipKey:
        assert self.keyring is not None, "in clear there are none"
        holders = tuple(name for name, ids in held.items() if id_ in ids)
        return GossipKey(
            id_,
            id_ == self.keyring.ids[0],
            holders,
            tuple(name for name, ids in held.items() if ids and ids[0] == id_),
            tuple(name for name in held if name not in holders),
            until,
        )

    def _lacking(self, id_: str) -> str:
        return (
            f"the cluster seals its gossip with key {id_}, which this node does not hold, so it hears little: add the "
            f"key to {self._where()} and send SIGHUP"
        )

    def _given_up(self, id_: str) -> str:
        return f"key {id_} in {self._where()} was given up by the cluster and is not used: remove it there"

    def _where(self) -> str:
        return "the setting key" if self._config.key_file is None else str(self._config.key_file)


def _shown(id_: str) -> str:
    """An id as sentences quote it: a key that was given in its place by mistake is not repeated."""
    return f"{id_!r}" if is_key_id(id_) else "of that id (an id is 8 hexadecimal digits)"


def _names(members: Sequence[str]) -> str:
    named = ", ".join(members[:_NAMED_MAX])
    return named if len(members) <= _NAMED_MAX else f"{named} and {len(members) - _NAMED_MAX} more"
