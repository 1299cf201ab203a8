"""A client of the DNS responder without sockets, and the fake node that is asked."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from gossipreg.events import InstanceEvent, MemberEvent
from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.responder import DnsResponder
from gossipreg.frontends.dns.zone import Zone
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.model import Address, Instance, Status
from tests.frontends.fake_node import FakeNode, member


@attrs.define(eq=False)
class DnsClient:
    """Ask it as a client would; what it answers must be readable, and answer what was asked."""

    ttl: int = 0
    own: Address = Address("127.0.0.1", 8600)
    datacenter: str = "default"
    regions: tuple[str, ...] = ()
    failover: FailoverList = attrs.field(factory=FailoverList)
    domains: tuple[str, ...] = ("gossipreg", "consul")
    node: FakeNode = attrs.field(factory=FakeNode)
    directory: Directory = attrs.field(init=False)
    responder: DnsResponder = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.directory = Directory(self.node)
        self.responder = DnsResponder(
            Zone(
                self.node,
                self.directory,
                self.own,
                self.domains,
                self.ttl,
                Random(1),
                self.datacenter,
                self.regions,
                self.failover,
            )
        )

    def offer(
        self, host: str = "10.0.0.1", port: int = 80, *, service: str = "orders", owner: str = "alpha", **more: Any
    ) -> Instance:
        """Someone offers an instance, or changes it."""
        more.setdefault("id", f"{service}-{host}-{port}")
        instance = Instance(service=service, host=host, port=port, owner=owner, **more)
        self.node.hold(instance)
        self.directory.note(InstanceEvent("added", instance))
        return instance

    def withdraw(self, instance: Instance) -> None:
        self.node.drop(instance)
        self.directory.note(InstanceEvent("removed", instance))

    def join(self, name: str, host: str) -> None:
        joined = attrs.evolve(member(name, 7940), address=Address(host, 7940))
        self.directory.note(MemberEvent("joined", joined))

    def fail(self, name: str) -> None:
        self.directory.note(MemberEvent("failed", member(name, 7940, Status.FAILED)))

    def ask(self, name: str, type_: str = "A", *, tcp: bool = False, **options: Any) -> dns.message.Message:
        query = dns.message.make_query(name, type_, **options)
        answer = self.responder.answer(query.to_wire(), tcp=tcp)
        assert answer is not None
        response = dns.message.from_wire(answer)
        assert query.is_response(response)
        assert not self.responder.counters["dns_mistakes"]
        return response

    def records(self, name: str, type_: str = "A", **options: Any) -> list[str]:
        """The answers' data as text."""
        return data(self.ask(name, type_, **options))


def data(response: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in response.answer for rdata in rrset]


def additional(response: dns.message.Message) -> list[str]:
    return [f"{rrset.name} {rdata.to_text()}" for rrset in response.additional for rdata in rrset]


def code(response: dns.message.Message) -> str:
    return dns.rcode.to_text(response.rcode())


def is_truncated(response: dns.message.Message) -> bool:
    return bool(response.flags & dns.flags.TC)
