"""The local registry: this node's own instances, their limits, and the records that publish them."""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.errors import InvalidInstance, RecordTooLarge, UnknownInstance
from gossipreg.model import Instance
from gossipreg.protocol.identity.authenticator import Authenticator
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Change
from gossipreg.protocol.registry.table import Table
from gossipreg.protocol.registry.terms import Terms
from gossipreg.protocol.state import ClusterState

#: Owners of one id that an error names.
_OWNERS_NAMED = 3


@attrs.define(eq=False, repr=False)
class RegistrationRoom:
    """What this node may still register: the limits of one owner, for several instances that come together.

    Those that were added count for the next one. Nothing else changes by that, and it holds for this moment only.
    """

    _own: Table
    _terms: Terms
    _authenticator: Authenticator
    _grown: int = attrs.field(init=False, default=0)  # bytes that those added take, less what they replace
    _new_ids: set[str] = attrs.field(init=False, factory=set)
    _new_services: set[str] = attrs.field(init=False, factory=set)  # with a term, and none before

    def _check_identity(self, instance: Instance) -> None:
        excess = self._authenticator.excess_of(instance)
        if excess is not None:
            field, _, value = excess.partition(" ")
            raise InvalidInstance(
                field,
                f"this node's certificate does not allow {field} {value!r}: have one signed with `gossipreg ca sign "
                f"--{field} {value}`",
            )

    def add(self, instance: Instance, size: int) -> None:
        """Count a checked instance of ``size`` bytes at most, whose id no other of those added has.

        Raises `RecordTooLarge` or `InvalidInstance` if it is beyond a limit, and counts nothing then.
        """
        self._check_identity(instance)
        if size > limits.RECORD_BYTES_MAX:
            raise RecordTooLarge(
                None,
                f"instance {instance.id!r}: its record has {size} bytes, {limits.RECORD_BYTES_MAX} are allowed: "
                "shorten its meta or tags",
            )
        together = self._own.grown(instance.id, size) + self._grown
        if together > limits.RECORDS_BYTES_PER_OWNER_MAX:
            raise RecordTooLarge(
                None,
                f"instance {instance.id!r}: with it the records of this node may take {together} bytes together, "
                f"{limits.RECORDS_BYTES_PER_OWNER_MAX} are allowed: deregister some, or register it at another node",
            )
        count = len(self._own) + len(self._new_ids)
        is_new = self._own.get(instance.id) is None
        if is_new and count >= limits.RECORDS_PER_OWNER_MAX:
            raise InvalidInstance(
                None,
                f"instance {instance.id!r}: this node offers {count} instances already, as many as are "
                "allowed: deregister some, or register it at another node",
            )
        self._check_term(instance)
        self._grown = together - self._own.payload_bytes
        if is_new:
            self._new_ids.add(instance.id)
        if instance.term and self._terms.get(instance.service) is None:
            self._new_services.add(instance.service)

    def _check_term(self, instance: Instance) -> None:
        if instance.term > max(limits.TERM_GIVEN_MAX, self._terms.seen(instance.service) + 1):
            raise InvalidInstance(
                "term",
                f"{instance.term} is too high: state up to {limits.TERM_GIVEN_MAX}, or the next one with `--term next`",
            )
        beside = len(self._new_services - {instance.service})
        if instance.term and not self._terms.has_room(instance.service, beside=beside):
            raise InvalidInstance(
                "term",
                f"{len(self._terms) + beside} services have terms already, as many as are allowed: reset those "
                "that are gone with `gossipreg role reset`",
            )


@attrs.define(eq=False, repr=False)
class LocalRegistry:
    """The instances that this node has registered."""

    identity: Identity
    state: ClusterState

    def __len__(self) -> int:
        return len(self.state.registry.table(self.identity.name) or ())

    def room(self) -> RegistrationRoom:
        """What may still be registered here at this moment: it says beforehand what registering would raise.

        Raises `NodeClosed`.
        """
        self.identity.check_open()
        own = self.state.registry.table(self.identity.name)
        return RegistrationRoom(
            own or Table(self.identity.name, self.identity.generation), self.state.terms, self.state.authenticator
        )

    def offer(self, instance: Instance, payload: bytes, now: float) -> None:
        """Publish ``instance``, which was checked and packed into ``payload``."""
        record, change = self.state.registry.offer(instance, self.identity.generation, payload)
        self._publish(record, change, now)

    def withdraw(self, id: str, now: float) -> None:
        """Publish the removal of an instance, which is there."""
        assert self.own(id) is not None, f"there is no instance {id!r} to withdraw"
        record, change = self.state.registry.delete(id, self.identity.generation)
        self._publish(record, change, now)

    def _publish(self, record: Record, change: Change, now: float) -> None:
        self.state.remake(record, change)
        if self.identity.announced:  # else everything is published when the join completes
            self.state.spread(record, now)
        self.state.term_state.raise_by(record, now, spread=self.identity.announced)

    def own(self, id: str) -> Instance | None:
        """This node's own instance of that id, as it was registered."""
        table = self.state.registry.table(self.identity.name)
        record = None if table is None else table.get(id)
        return None if record is None else record.instance

    def unknown_instance(self, id: str) -> UnknownInstance:
        """The error that this node owns no instance of that id; it names the members that own one."""
        owners = sorted(table.owner for table in self.state.registry.owners if table.get(id) is not None)
        if not owners:
            return UnknownInstance(f"this node owns no instance {id!r}, and no member does")
        members = [self.state.members.get(owner) for owner in owners[:_OWNERS_NAMED]]
        named = ", ".join(f"{member.name} at {member.address}" for member in members if member is not None)
        return UnknownInstance(f"this node owns no instance {id!r}: ask its owner{f', {named}' if named else ''}")
