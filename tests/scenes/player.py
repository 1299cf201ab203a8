"""Runner of golden scenes: a script of what is done to a cluster, and what then happened, line by line.

A script begins with a comment that says what it shows. Up to ``---`` there is one command a line:

    cluster a b c             nodes that have found each other; the clock shows 0
    start d join a            options: port N, as NAME (what it calls itself), clock -3600s
    register a orders         options: id ID, weight N, bytes N (of meta), role NAME, term N
    deregister a orders-a
    drain a, leave a          as the node is asked to
    forget a b                an operator has b forgotten, at a
    crash a                   as kill -9 does
    restart a                 options of start; at its old port, and to its old seeds unless told otherwise
    freeze a, thaw a          as SIGSTOP and SIGCONT do
    cut a -> b                what a sends to b is lost
    cut a b | c d             what either side sends to the other is lost
    lose 30%                  of all packets
    heal                      nothing is lost any more
    advance 1.5s
    show ping ack by a b      write down the messages of these kinds that these nodes send, or all do; show: no more
    look orders               write down who answers what
    minds                     write down who believes what of whom

Below it is what happened: time (s), who, and what it saw, or sent, or answered. The script is compared exactly, and
written anew by ``pytest --record-scenes``; read the difference before you commit it.
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
from tests.scenes.stage import Actor, Stage

_RULER = "---\n"

#: How long a cluster has to find itself before a scene begins (seconds).
_OVERTURE = 10.0


@attrs.frozen
class Scene:
    """A script: what it shows, the commands, and what is expected to happen."""

    path: Path
    script: str
    expected: str

    @classmethod
    def load(cls, path: Path) -> Scene:
        """Read a scene; one that was never recorded expects nothing."""
        script, _, expected = path.read_text().partition(_RULER)
        return cls(path, script, expected)

    def run(self, transcript: Callable[[bytes], None] | None = None) -> str:
        """What happens; ``transcript`` is given every output of every engine as bytes."""
        player = Player()
        if transcript is not None:
            player.stage.listeners.append(lambda actor, output: transcript(f"{actor.handle} {output}".encode()))
        for line in self.script.splitlines():
            command = line.partition("#")[0].split()
            if command:
                player.perform(*command)
        return "".join(f"{line}\n" for line in player.stage.lines)

    def record(self) -> None:
        """Write down what happens as what is expected."""
        self.path.write_text(self.script + _RULER + self.run())


@attrs.define
class Player:
    """A stage, and the commands of a script."""

    stage: Stage = attrs.field(factory=lambda: Stage(now=-_OVERTURE))
    seeds: dict[str, list[str]] = attrs.field(factory=dict)
    shown: dict[str, frozenset[str]] = attrs.field(factory=dict)  # kind -> handles of senders; empty for all

    def __attrs_post_init__(self) -> None:
        self.stage.listeners.append(self._listen)

    def perform(self, verb: str, *words: str) -> None:
        """Do what one line of a script says."""
        getattr(self, f"do_{verb}")(*words)

    def do_cluster(self, *handles: str) -> None:
        first, *others = handles
        self.stage.start(first)
        self.seeds[first] = others[:1]
        for handle in others:
            self.seeds[handle] = [first]
            self.stage.start(handle, seeds=[first])
        self.stage.advance(_OVERTURE)
        assert self.stage.agree(), "the cluster has found itself"
        self.stage.lines.clear()

    def do_start(self, handle: str, *words: str) -> None:
        options = _options(words, "join", "port", "as", "clock")
        self.seeds[handle] = options.get("join", self.seeds.get(handle, []))
        self.stage.start(
            handle,
            seeds=self.seeds[handle],
            port=int(options["port"][0]) if "port" in options else None,
            name=options["as"][0] if "as" in options else None,
            clock_off=_seconds(options["clock"][0]) if "clock" in options else 0.0,
        )

    do_restart = do_start

    def do_register(self, handle: str, service: str, *words: str) -> None:
        options = _options(words, "id", "weight", "bytes", "role", "term")
        self.stage.register(
            handle,
            service,
            as_id=options.get("id", [""])[0],
            weight=int(options.get("weight", ["1"])[0]),
            role=options.get("role", [None])[0],
            term=int(options.get("term", ["0"])[0]),
            meta={"blob": "#" * int(options["bytes"][0])} if "bytes" in options else {},
        )

    def do_deregister(self, handle: str, instance: str) -> None:
        self.stage.do(handle, lambda engine, now: engine.deregister(instance, now))

    def do_forget(self, handle: str, name: str) -> None:
        self.stage.do(handle, lambda engine, now: engine.forget(name, now))

    def do_drain(self, handle: str) -> None:
        self.stage.do(handle, lambda engine, now: engine.drain(now))

    def do_leave(self, handle: str) -> None:
        self.stage.do(handle, lambda engine, now: engine.leave(now))

    def do_crash(self, handle: str) -> None:
        self.stage.crash(handle)

    def do_freeze(self, handle: str) -> None:
        self.stage.freeze(handle)

    def do_thaw(self, handle: str) -> None:
        self.stage.thaw(handle)

    def do_cut(self, *words: str) -> None:
        sign = "->" if "->" in words else "|"
        middle = words.index(sign)
        self.stage.cut(words[:middle], words[middle + 1 :], both_ways=sign == "|")

    def do_lose(self, share: str) -> None:
        self.stage.loss = float(share.removesuffix("%")) / 100

    def do_heal(self) -> None:
        self.stage.heal()
        self.stage.loss = 0.0

    def do_advance(self, seconds: str) -> None:
        self.stage.advance(_seconds(seconds))

    def do_show(self, *words: str) -> None:
        options = _options(("show", *words), "show", "by")
        self.shown = dict.fromkeys(options["show"], frozenset(options.get("by", [])))

    def do_look(self, service: str) -> None:
        for actor in self.stage.alive:
            instances = actor.engine.view.service(service).healthy
            answer = " ".join(_told_of(instance) for instance in instances)
            self.stage.write(actor, f"answers {service}: {answer or 'nobody'}")

    def do_minds(self) -> None:
        for actor in self.stage.alive:
            updates = sorted(actor.engine.members, key=lambda update: update.name)
            said = [f"{r.name} {r.status}" for r in updates if r.name != actor.name]
            alone = ", and hears nobody" if actor.engine.is_isolated(self.stage.now) else ""
            self.stage.write(actor, f"believes {', '.join(said) or 'in nobody'}{alone}")
        self.stage.lines.append(" " * 10 + ("all are of one mind" if self.stage.agree() else "they differ"))

    # What is said

    def _listen(self, actor: Actor, output: Output) -> None:
        match output:
            case Transmit():
                self._write(actor, "->", output.to, unpack(output.data)[1])
            case OpenStream():
                self._write(actor, "=>", output.to, unpack(output.frame)[1])
            case SendFrame() if output.stream in actor.lines:
                self._write(actor, "=>", actor.lines[output.stream].peer.address, unpack(output.frame)[1])

    def _write(self, actor: Actor, arrow: str, to: Address, messages: Iterable[Message]) -> None:
        receiver = self.stage.at(to)
        lost = receiver is None or not self.stage.passes(actor, receiver)
        for message in messages:
            if isinstance(message, WallClock):
                continue  # it goes along with every ack
            kind, text = self._told(message)
            if kind in self.shown and (not self.shown[kind] or actor.handle in self.shown[kind]):
                there = receiver.handle if receiver is not None else str(to)
                self.stage.write(actor, f"{arrow} {there}: {text}{' (lost)' if lost else ''}")

    def _told(self, message: Message) -> tuple[str, str]:
        """The kind of a message, and what it says."""
        match message:
            case Ping() | Nack():
                kind = type(message).__name__.lower()
                return kind, f"{kind} {message.seq}"
            case Ack():
                return "ack", f"ack {message.seq}{f' of {self._who(message.subject)}' if message.subject else ''}"
            case PingReq():
                patience = f"within {message.patience / 1000:.3f} s"
                return "ping-req", f"ping-req {message.seq} of {self._who(message.target)} {patience}"
            case MemberUpdate():
                return "update", f"{message.name} is {message.status} ({message.incarnation})"
            case NameConflictQuery():
                return "name-query", f"{'I am' if message.announced else 'I want to be'} {message.name}"
            case Record():
                return "record", f"{message.id} {'is no more' if message.payload is None else 'is offered'}"
            case Announcement():
                return "announcement", f"{message.id} is offered, ask me"
            case Fetch():
                return "fetch", f"give me {message.id}"
            case TableDigest():
                gone = f", without {' '.join(message.gone)}" if message.gone else ""
                return "digest", f"{message.owner} is at version {message.version}{gone}"
            case Compare():
                return "compare", "compare"
            case Listing() | Want():
                kind = type(message).__name__.lower()
                return kind, f"{kind} of {len(message.digests)} in bucket {message.bucket}"
            case _:
                return "end", "your turn"

    def _who(self, run_id: int) -> str:
        handles = [actor.handle for actor in self.stage.actors.values() if actor.engine.identity.run_id == run_id]
        return handles[0] if handles else "somebody"


def _told_of(instance: Instance) -> str:
    """Its id, its weight if that says something, its role if it has one and the term of that."""
    weight = "" if instance.weight == 1 else f"*{instance.weight}"
    role = "" if instance.role is None else f"({instance.role} {instance.term})"
    return f"{instance.id}{weight}{role}"


def _options(words: Iterable[str], *names: str) -> dict[str, list[str]]:
    """The words by the option's name that they come after."""
    options: dict[str, list[str]] = {}
    values: list[str] = []
    for word in words:
        if word in names:
            values = options.setdefault(word, [])
        else:
            values.append(word)
    return options


def _seconds(text: str) -> float:
    assert text.endswith("s"), f"{text!r} is not a time: write 1.5s"
    return float(text.removesuffix("s"))
