"""Golden scenes: scripts of commands to a cluster, with the expected events, line by line.

A script begins with a comment that states what it shows. Up to ``---`` it has one command a line:

    cluster a b c             converged nodes; the clock shows 0
    start d join a            options: port N, as NAME (another node name), clock -3600s
    register a orders         options: id ID, weight N, bytes N (of meta), role NAME, term N
    deregister a orders-a
    drain a, leave a          as by the commands of the same name
    forget a b                an operator makes a forget b
    join a b d                an operator has a join others; a port in place of a node where none is
    crash a                   as kill -9 does
    restart a                 options of start; by default the old port and the old seeds
    freeze a, thaw a          as SIGSTOP and SIGCONT do
    cut a -> b                packets from a to b are lost
    cut a b | c d             packets between the sides are lost
    lose 30%                  of all packets
    heal                      no packet is lost any more
    advance 1.5s
    show ping ack by a b      record these kinds of messages of these nodes (default: all); show alone: stop
    look orders               record the lookup result of each node
    beliefs                   record the beliefs of each node

Below it are the events: time (s), node, and what the node saw, sent or answered. They are compared exactly.
``pytest --record-scenes`` records them anew; read the difference before you commit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from gossipreg.model import Address, Instance
from gossipreg.protocol.anti_entropy.reconcile import Compare, Listing, Want
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.outputs import OpenStream, Output, SendFrame, Transmit
from gossipreg.protocol.registry.records import Announcement, Fetch, Record, TableDigest
from gossipreg.protocol.wire.messages import Message
from gossipreg.protocol.wire.reader import unpack
from tests.scenes.testbed import EngineNode, EngineTestbed

_RULER = "---\n"

#: Time in which the cluster converges before a scene begins (seconds).
_JOIN_SECONDS = 10.0


@attrs.frozen
class Scene:
    """A script: its commands, and the expected events."""

    path: Path
    script: str
    expected: str

    @classmethod
    def load(cls, path: Path) -> Scene:
        """Read a scene; one that was never recorded expects no events."""
        script, _, expected = path.read_text().partition(_RULER)
        return cls(path, script, expected)

    def run(self, transcript: Callable[[bytes], None] | None = None) -> str:
        """Run the scene and return its events; ``transcript`` receives every output of every engine as bytes."""
        runner = ScriptRunner()
        if transcript is not None:
            runner.testbed.listeners.append(lambda node, output: transcript(f"{node.handle} {output}".encode()))
        for line in self.script.splitlines():
            command = line.partition("#")[0].split()
            if command:
                runner.perform(*command)
        return "".join(f"{line}\n" for line in runner.testbed.lines)

    def record(self) -> None:
        """Record the events of a run as the expected ones."""
        self.path.write_text(self.script + _RULER + self.run())


@attrs.define
class ScriptRunner:
    """Runs the commands of a script on a testbed."""

    testbed: EngineTestbed = attrs.field(factory=lambda: EngineTestbed(now=-_JOIN_SECONDS))
    seeds: dict[str, list[str]] = attrs.field(factory=dict)
    shown: dict[str, frozenset[str]] = attrs.field(factory=dict)  # kind -> handles of senders; empty for all

    def __attrs_post_init__(self) -> None:
        self.testbed.listeners.append(self._listen)

    def perform(self, verb: str, *arguments: str) -> None:
        """Run one line of a script."""
        getattr(self, f"do_{verb}")(*arguments)

    def do_cluster(self, *handles: str) -> None:
        first, *others = handles
        self.testbed.start(first)
        self.seeds[first] = others[:1]
        for handle in others:
            self.seeds[handle] = [first]
            self.testbed.start(handle, seeds=[first])
        self.testbed.advance(_JOIN_SECONDS)
        assert self.testbed.agree(), "the cluster has converged"
        self.testbed.lines.clear()

    def do_start(self, handle: str, *arguments: str) -> None:
        options = _options(arguments, "join", "port", "as", "clock")
        self.seeds[handle] = options.get("join", self.seeds.get(handle, []))
        self.testbed.start(
            handle,
            seeds=self.seeds[handle],
            port=int(options["port"][0]) if "port" in options else None,
            name=options["as"][0] if "as" in options else None,
            clock_off=_seconds(options["clock"][0]) if "clock" in options else 0.0,
        )

    do_restart = do_start

    def do_register(self, handle: str, service: str, *arguments: str) -> None:
        options = _options(arguments, "id", "weight", "bytes", "role", "term")
        self.testbed.register(
            handle,
            service,
            as_id=options.get("id", [""])[0],
            weight=int(options.get("weight", ["1"])[0]),
            role=options.get("role", [None])[0],
            term=int(options.get("term", ["0"])[0]),
            meta={"blob": "#" * int(options["bytes"][0])} if "bytes" in options else {},
        )

    def do_deregister(self, handle: str, instance: str) -> None:
        self.testbed.do(handle, lambda engine, now: engine.deregister(instance, now))

    def do_forget(self, handle: str, name: str) -> None:
        self.testbed.do(handle, lambda engine, now: engine.forget(name, now))

    def do_join(self, handle: str, *others: str) -> None:
        nodes = self.testbed.nodes
        places = [nodes[each].address if each in nodes else Address("10.0.0.1", int(each)) for each in others]
        self.testbed.do(handle, lambda engine, now: engine.join(places, now))

    def do_drain(self, handle: str) -> None:
        self.testbed.do(handle, lambda engine, now: engine.drain(now))

    def do_leave(self, handle: str) -> None:
        self.testbed.do(handle, lambda engine, now: engine.leave(now))

    def do_crash(self, handle: str) -> None:
        self.testbed.crash(handle)

    def do_freeze(self, handle: str) -> None:
        self.testbed.freeze(handle)

    def do_thaw(self, handle: str) -> None:
        self.testbed.thaw(handle)

    def do_cut(self, *arguments: str) -> None:
        sign = "->" if "->" in arguments else "|"
        middle = arguments.index(sign)
        self.testbed.cut(arguments[:middle], arguments[middle + 1 :], both_ways=sign == "|")

    def do_lose(self, share: str) -> None:
        self.testbed.loss = float(share.removesuffix("%")) / 100

    def do_heal(self) -> None:
        self.testbed.heal()
        self.testbed.loss = 0.0

    def do_advance(self, seconds: str) -> None:
        self.testbed.advance(_seconds(seconds))

    def do_show(self, *arguments: str) -> None:
        options = _options(("show", *arguments), "show", "by")
        self.shown = dict.fromkeys(options["show"], frozenset(options.get("by", [])))

    def do_look(self, service: str) -> None:
        for node in self.testbed.alive:
            instances = node.engine.view.service(service).healthy
            answer = " ".join(_describe_instance(instance) for instance in instances)
            self.testbed.write(node, f"answers {service}: {answer or 'none'}")

    def do_beliefs(self) -> None:
        for node in self.testbed.alive:
            updates = sorted(node.engine.members, key=lambda update: update.name)
            beliefs = [f"{r.name} {r.status}" for r in updates if r.name != node.name]
            alone = "; isolated" if node.engine.isolation.is_isolated(self.testbed.now) else ""
            self.testbed.write(node, f"believes {', '.join(beliefs) or 'no member'}{alone}")
        self.testbed.lines.append(" " * 10 + ("all agree" if self.testbed.agree() else "they differ"))

    # Messages

    def _listen(self, node: EngineNode, output: Output) -> None:
        match output:
            case Transmit():
                self._write(node, "->", output.to, unpack(output.data)[1])
            case OpenStream():
                self._write(node, "=>", output.to, unpack(output.frame)[1])
            case SendFrame() if output.stream in node.streams:
                self._write(node, "=>", node.streams[output.stream].peer.address, unpack(output.frame)[1])

    def _write(self, node: EngineNode, arrow: str, to: Address, messages: Iterable[Message]) -> None:
        receiver = self.testbed.at(to)
        lost = receiver is None or not self.testbed.passes(node, receiver)
        for message in messages:
            if isinstance(message, WallClock):
                continue  # sent with every ack
            kind, text = self._describe(message)
            if kind in self.shown and (not self.shown[kind] or node.handle in self.shown[kind]):
                there = receiver.handle if receiver is not None else str(to)
                self.testbed.write(node, f"{arrow} {there}: {text}{' (lost)' if lost else ''}")

    def _describe(self, message: Message) -> tuple[str, str]:
        """Return the kind of a message, and its text."""
        match message:
            case Ping() | Nack():
                kind = type(message).__name__.lower()
                return kind, f"{kind} {message.seq}"
            case Ack():
                return "ack", f"ack {message.seq}{f' of {self._handle_of(message.subject)}' if message.subject else ''}"
            case PingReq():
                patience = f"within {message.patience / 1000:.3f} s"
                return "ping-req", f"ping-req {message.seq} of {self._handle_of(message.target)} {patience}"
            case MemberUpdate():
                return "update", f"{message.name} is {message.status} ({message.incarnation})"
            case NameConflictQuery():
                return "name-query", f"name-query {message.name} ({'announced' if message.announced else 'joining'})"
            case Record():
                return "record", f"{'removal' if message.payload is None else 'record'} of {message.id}"
            case Announcement():
                return "announcement", f"announcement of {message.id}"
            case Fetch():
                return "fetch", f"fetch {message.id}"
            case TableDigest():
                gone = f", without {' '.join(message.gone)}" if message.gone else ""
                return "digest", f"digest of {message.owner} at version {message.version}{gone}"
            case Compare():
                return "compare", "compare"
            case Listing() | Want():
                kind = type(message).__name__.lower()
                return kind, f"{kind} of {len(message.digests)} in bucket {message.bucket}"
            case _:
                return "end", "end of turn"

    def _handle_of(self, run_id: int) -> str:
        handles = [node.handle for node in self.testbed.nodes.values() if node.engine.identity.run_id == run_id]
        return handles[0] if handles else "an unknown node"


def _describe_instance(instance: Instance) -> str:
    """Return its id, its weight unless 1, and its role and term if it has one."""
    weight = "" if instance.weight == 1 else f"*{instance.weight}"
    role = "" if instance.role is None else f"({instance.role} {instance.term})"
    return f"{instance.id}{weight}{role}"


def _options(arguments: Iterable[str], *names: str) -> dict[str, list[str]]:
    """Return the values of each option, by its name."""
    options: dict[str, list[str]] = {}
    values: list[str] = []
    for argument in arguments:
        if argument in names:
            values = options.setdefault(argument, [])
        else:
            values.append(argument)
    return options


def _seconds(text: str) -> float:
    assert text.endswith("s"), f"{text!r} is not a time: write 1.5s"
    return float(text.removesuffix("s"))
