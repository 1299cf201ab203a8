"""Knows what each route does: one short function each, from a call to its answer."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

import attrs

from gossipreg.check import CheckKind, CheckReport, read_checks
from gossipreg.frontends.http import render, roles
from gossipreg.frontends.http.answers import Answer, Refusal, encode
from gossipreg.frontends.http.call import Call, may_read_status
from gossipreg.frontends.http.checking import outputs_for, permit_checks
from gossipreg.frontends.http.events import EventStream
from gossipreg.frontends.http.lookups import Lookup
from gossipreg.frontends.http.registration import Registration
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.slices import Pace
from gossipreg.frontends.http.waiting import Waiting
from gossipreg.frontends.http.waits import reply
from gossipreg.model import Health, Instance
from gossipreg.text import shown


async def health(call: Call) -> Answer:
    """Whether this node is up; load balancers and supervisors ask this. The rest is for those who may read it."""
    info = call.node.info()
    status, word = (503, "leaving") if info.leaving else (200, "draining" if info.draining else "ok")
    return Answer.of(status, {"status": word, **(render.node(info) if _may_know(call) else {})})


async def ready(call: Call) -> Answer:
    """Whether what this node answers is the cluster's: it has joined, or was told to be alone, and is not leaving."""
    info = call.node.info()
    if info.leaving:
        return Answer.of(503, {"ready": False, "reason": "this node is leaving"})
    if not info.joined:
        why = "; ".join(f"{each.seed}: {each.detail}" for each in info.join_failures) or "no seed has answered"
        return Answer.of(503, {"ready": False, "reason": f"not joined: {why}" if _may_know(call) else "not joined"})
    return Answer.of(200, {"ready": True, "reason": ""})


def _may_know(call: Call) -> bool:
    return may_read_status(call.room, call.request)


async def node(call: Call) -> Answer:
    """This node about itself."""
    return Answer.of(200, render.node(call.node.info()))


async def members(call: Call) -> Answer | Waiting:
    """Every member that this node remembers."""

    async def body() -> bytes:
        return b'{"members":%b}' % await Pace().json_list(map(render.member, call.node.members()))

    return await reply(call, None, body)


async def forget(call: Call) -> Answer:
    """Have every node forget a member that failed, and what it offered."""
    await call.node.forget(call.argument)
    return Answer(204)


async def services(call: Call) -> Answer | Waiting:
    """Every service, with how many instances it has."""

    async def body() -> bytes:
        counts = Pace().over(sorted(call.node.services().items()))
        rows = [b"%b:%b" % (encode(name), encode(render.service(count))) async for name, count in counts]
        return b'{"services":{%b}}' % b",".join(rows)

    return await reply(call, None, body)


async def lookup(call: Call) -> Answer | Waiting:
    """The instances of one service that can serve now."""
    asked = Lookup(
        service=call.argument,
        healthy=not call.flag("all"),
        tag=call.text("tag"),
        zone=call.text("zone"),
        role=call.text("role"),
        panic=call.share("panic"),
    )
    return await reply(call, asked.service, lambda: call.room.lookups.body(asked))


async def register(call: Call) -> Answer:
    """Register an instance with this node, or replace the one it has under that id."""
    if not call.request.announces_body:
        raise Refusal(411, "an instance is expected as JSON: send it as the body, with a Content-Length")
    wanted = Registration.parse(call.request.body)
    checks = read_checks(wanted.checks)
    if call.node.command_checks != "api" and any(check.kind is CheckKind.COMMAND for check in checks):
        raise Refusal(403, "checks: commands are not taken over HTTP: start the agent with --command-checks api")
    permit_checks(call.room.access, call.request.token, call.node, checks, wanted.host)
    before = _own_ids(call.node, wanted)
    term = await roles.next_term(call.node, wanted.service) if wanted.term == "next" else wanted.term
    fields = attrs.asdict(wanted, recurse=False) | {"checks": checks, "term": term}
    registered = await call.node.register(**fields)
    return Answer.of(200 if registered.id in before else 201, _written(call.node, registered))


def _written(node: Registry, instance: Instance) -> render.Json:
    """What a write answers: the instance as lookups show it and, if it is not called as it was stated, a note."""
    note = node.note(instance)
    return {**render.instance(instance), **({"note": note} if note else {})}


def _own_ids(node: Registry, wanted: Registration) -> set[str]:
    """The ids under which ``node`` may already have what is ``wanted`` now: the one it names, or any it could get."""
    if wanted.id is not None:
        return set() if node.own(wanted.id) is None else {wanted.id}
    return {each.id for each in node.lookup(wanted.service, healthy=False) if each.owner == node.name}


async def deregister(call: Call) -> Answer:
    """Remove an instance that this node registered."""
    await call.node.deregister(call.argument)
    return Answer(204)


async def every_check(call: Call) -> Answer:
    """The checks of all that this node registered, as they stand."""
    return Answer(200, b'{"checks":%b}' % await _checks(call, call.node.checks()))


async def checks_of(call: Call) -> Answer:
    """The checks of one instance that this node registered."""
    return Answer(200, b'{"checks":%b}' % await _checks(call, call.node.checks(call.argument)))


def _checks(call: Call, reports: Iterable[CheckReport]) -> Awaitable[bytes]:
    """``reports`` in JSON, with the output that the client's token is for."""
    output = outputs_for(call.room.access, call.request.token)
    return Pace().json_list(render.check(each, output(each)) for each in reports)


async def heartbeat(call: Call) -> Answer:
    """The service says how it is."""
    health = call.text("health") or Health.PASSING
    if health not in ("passing", "warning", "critical"):
        raise Refusal(400, f"health: {shown(health)} is neither passing, warning nor critical")
    await call.node.heartbeat(
        call.argument, check=call.text("check"), health=Health(health), note=call.text("note") or ""
    )
    return Answer(204)


async def begin_maintenance(call: Call) -> Answer:
    """Take an instance out, though its checks may pass."""
    reason = call.text("reason") or ""
    return Answer.of(200, _written(call.node, await call.node.set_maintenance(call.argument, reason)))


async def end_maintenance(call: Call) -> Answer:
    """Leave it to the checks of an instance again whether it can serve."""
    return Answer.of(200, _written(call.node, await call.node.set_maintenance(call.argument, None)))


async def events(call: Call) -> EventStream:
    """What happens, as it happens."""
    return EventStream(call.node, call.text("service"), call.share("panic"), call.room.frames)


async def drain(call: Call) -> Answer:
    """Have everybody send this node's instances no new work, and stay."""
    await call.node.drain()
    return Answer.of(200, {"draining": True})


async def undrain(call: Call) -> Answer:
    """Have everybody send work again."""
    await call.node.undrain()
    return Answer.of(200, {"draining": False})


async def leave(call: Call) -> Answer:
    """Have this node drain, announce that it goes, and close."""
    call.room.leave()
    return Answer.of(202, {"status": "leaving"})
