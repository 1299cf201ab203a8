"""Policies over HTTP: listing, setting and removing them, and their form in JSON."""

from __future__ import annotations

from typing import Any, Final

from gossipreg.frontends.http.blocking import reply
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Response
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.json_documents import read_json
from gossipreg.policy import Maintenance, Policy, Rule, Split, UnreadablePolicy, WeightOverride
from gossipreg.text import shown

_KINDS: Final = {"split": {"by"}, "weight": {"instance", "owner"}, "maintenance": {"instance", "owner"}}

_HOW: Final = 'give "service", and "split" (with "by"), or "instance" (with "owner") with "weight" or "maintenance"'


async def policies(context: NativeContext) -> Response | DeferredResponse:
    """Every policy in force: what it is about, who set it, and when; and those that this version cannot read."""

    async def body() -> bytes:
        slicer = TimeSlicer()
        readable = await slicer.json_list(map(render, context.node.policies()))
        unreadable = await slicer.json_list(map(_unreadable, context.node.unreadable_policies()))
        return b'{"policies":%b,"unreadable":%b}' % (readable, unreadable)

    return await reply(context, None, body)


async def set_policy(context: NativeContext) -> Response:
    """Have every node obey a rule, in place of any of its key."""
    if not context.request.announces_body:
        raise HttpError(411, "a policy is expected as JSON: send it as the body, with a Content-Length")
    policy = await context.node.set_policy(parse(context.request.body))
    there = context.node.lookup(policy.rule.service, healthy=False)
    return Response.of(200, render(policy) | {"hits": sum(map(policy.rule.is_about, there))})


async def remove_policy(context: NativeContext) -> Response:
    """Remove a policy from the whole cluster."""
    await context.node.remove_policy(context.argument)
    return Response(204)


def render(policy: Policy) -> dict[str, Any]:
    """One policy; ``at`` is in seconds since the epoch."""
    rule = policy.rule
    return {
        "key": policy.key,
        "kind": rule.kind,
        "service": rule.service,
        **({"owner": rule.owner or None} if isinstance(rule, WeightOverride | Maintenance) else {}),
        **rule.stated(),
        "writer": policy.writer,
        "at": policy.at,
    }


def _unreadable(policy: UnreadablePolicy) -> dict[str, Any]:
    return {"key": policy.key, "writer": policy.writer, "at": policy.at}


def parse(body: bytes) -> Rule:
    """The rule that a client wants obeyed. Raises a 400 ``HttpError``; limits are for the node to check."""
    try:
        wanted = read_json(body)
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON that can be read: {error}") from None
    if not isinstance(wanted, dict):
        raise HttpError(400, f"the body is not an object: {_HOW}")
    kinds = [kind for kind in _KINDS if kind in wanted]
    if len(kinds) != 1:
        raise HttpError(400, f"the body says {' and '.join(kinds) or 'nothing of what is to be'}: {_HOW}")
    (kind,) = kinds
    for name in wanted.keys() - {"service", kind, *_KINDS[kind]}:
        raise HttpError(400, f"{shown(name)}: a {kind} has no such field: {_HOW}")
    return _rule(kind, wanted)


def _rule(kind: str, wanted: dict[str, Any]) -> Rule:
    service = wanted.get("service", "")
    if kind == "split":
        if not isinstance(wanted["split"], dict):
            raise HttpError(400, 'split: is not an object of shares: write {"v1": 90, "v2": 10}')
        return Split(service, wanted["split"], wanted.get("by", "tag"))
    instance, owner = wanted.get("instance", ""), wanted.get("owner")
    owner = "" if owner is None else owner
    if kind == "weight":
        return WeightOverride(service, instance, wanted["weight"], owner)
    return Maintenance(service, instance, wanted["maintenance"], owner)
