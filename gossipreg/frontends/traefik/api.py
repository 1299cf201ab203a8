"""The Traefik API: the dynamic configuration that its ``http`` provider polls.

Instances say what Traefik is to make of their service in labels, as they do for its other providers: in tags
(``traefik.http.routers.shop.rule=Host(`shop.example.com`)``) or in their meta, under the same names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any, Final

import attrs

from gossipreg.errors import GossipregError
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.request import QueryParameters, Request, split_target
from gossipreg.frontends.serving.response import HttpError, Reply, Response, encode, http_error
from gossipreg.frontends.serving.router import Router
from gossipreg.frontends.serving.scopes import Action
from gossipreg.frontends.serving.settling import is_settling
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Instance
from gossipreg.text import shown

_ROUTER: Final = re.compile(r"traefik\.http\.routers\.([^.@]+)\.([a-z.]+)", re.IGNORECASE)
_SERVICE: Final = re.compile(r"traefik\.http\.services\.[^.@]+\.loadbalancer\.([a-z.]+)", re.IGNORECASE)

_TRUE: Final = frozenset({"true", "1", ""})

#: How often a rule may name the service: each time makes the document longer, for every service that there is.
_RULE_NAMES_MAX: Final = 16

#: What the query may narrow the document by, or add to it.
PARAMETERS: Final = ("service", "tag", "zone", "rule")

_PATHS: Final = Router([("GET", "/traefik/v1/config", Action.READ_CLUSTER)])


@attrs.define(eq=False, repr=False)
class Traefik:
    """Answers with one document for everything, or for what the query narrows it to."""

    @property
    def routes(self) -> tuple[tuple[str, str, Action], ...]:
        """See `CompatibilityApi`."""
        return _PATHS.routes

    def token(self, request: Request) -> str | None:
        """As everywhere."""
        return request.token

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """The dynamic configuration. While the node is settling it is refused, so Traefik keeps what it has."""
        pattern = ""
        try:
            path, query = split_target(request.target)
            found = _PATHS.find(request.method, path)
            pattern = found.pattern
            server.access.permit(request.token, found.handler)
            _check(query, server.node)
            return pattern, Response(200, await configuration(server.node, query))
        except (HttpError, GossipregError) as error:
            return pattern, http_error(error).answer


def _check(query: QueryParameters, node: NodeApi) -> None:
    if is_settling(node.info()):
        raise HttpError(503, "this agent has just been started: it may not know all services yet")
    for name, _ in query.pairs:
        if name not in PARAMETERS:
            raise HttpError(400, f"there is no query parameter {shown(name)}: there are {', '.join(PARAMETERS)}")
    for text in query.all("rule"):
        if not 1 <= text.count("{service}") <= _RULE_NAMES_MAX:
            raise HttpError(
                400,
                f"rule: {shown(text)} does not say where {{service}} stands in it, up to {_RULE_NAMES_MAX} times",
            )


async def configuration(node: NodeApi, query: QueryParameters) -> bytes:
    """Every service that there is, or that the query names, and the routers that lead to it: JSON, made in slices."""
    slicer = TimeSlicer()
    document = _Document()
    tag, zone = query.first("tag") or None, query.first("zone") or None
    names = dict.fromkeys(query.all("service")) or sorted(node.services())
    steps = (step for name in names for step in document.add(node, name, tag, zone, query.first("rule")))
    async for _ in slicer.over(steps):
        pass
    if not document.services:
        return b"{}"
    routers = [b"%b:%b" % (encode(name), row) async for name, row in slicer.over(document.routers.items())]
    said = b',"routers":{%b}' % b",".join(routers) if routers else b""
    return b'{"http":{"services":{%b}%b}}' % (b",".join(document.services), said)


@attrs.define(eq=False, repr=False)
class _Document:
    """What was written so far: services with their names, and routers by their names."""

    services: list[bytes] = attrs.field(factory=list)
    routers: dict[str, bytes] = attrs.field(factory=dict)

    def add(self, node: NodeApi, name: str, tag: str | None, zone: str | None, rule: str) -> Iterator[None]:
        """Write a service and its routers, one small step after the other."""
        yield from node.decode(name)
        known = node.lookup(name, healthy=False, tag=tag, zone=zone)
        called = node.lookup(name, tag=tag, zone=zone)
        yield
        labels: dict[str, str] = {}
        for instance in sorted(known, key=_ORDER, reverse=True):
            _collect_labels(instance, labels)
            yield
        if not known or labels.get("traefik.enable", "true").lower() not in _TRUE:
            return
        settings = {read[1].lower(): value for key, value in labels.items() if (read := _SERVICE.fullmatch(key))}
        scheme = settings.get("server.scheme", "http")
        yield
        servers: list[bytes] = []
        for instance in sorted(called, key=_ORDER):
            if instance.weight and instance.is_callable:
                servers.append(encode({"url": f"{scheme}://{instance.address}", "weight": instance.weight}))
            yield
        self.services.append(b"%b:%b" % (encode(name), _service(servers, settings)))
        self.routers |= {router: encode(said) for router, said in _routers(name, labels, rule).items()}


#: The order in which instances are read and listed.
_ORDER: Final = attrgetter("id", "owner")


def _collect_labels(instance: Instance, labels: dict[str, str]) -> None:
    """Collect an instance's labels for Traefik. Where several differ, the one with the lowest id, read last, wins."""
    labels.update((key, value) for key, value in instance.meta.items() if key.startswith("traefik."))
    labels.update(tag.partition("=")[::2] for tag in instance.tags if tag.startswith("traefik."))


def _service(servers: Iterable[bytes], settings: Mapping[str, str]) -> bytes:
    """The instances that can be called. With none the list is empty, so that Traefik answers 503 rather than 404."""
    rest: dict[str, Any] = {}
    if "passhostheader" in settings:
        rest["passHostHeader"] = settings["passhostheader"].lower() in _TRUE
    if "serverstransport" in settings:
        rest["serversTransport"] = settings["serverstransport"]
    said = b"," + encode(rest)[1:-1] if rest else b""
    return b'{"loadBalancer":{"servers":[%b]%b}}' % (b",".join(servers), said)


def _routers(service: str, labels: Mapping[str, str], rule: str) -> Mapping[str, Any]:
    """The routers that the labels describe, or the one of the query's rule if they describe none."""
    rule = rule.replace("{service}", service)
    settings: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for key, value in labels.items():
        if read := _ROUTER.fullmatch(key):
            settings[read[1]][read[2].lower()] = value
    if not settings and rule:
        settings[service] = {}
    routers = {name: _router({"rule": rule, "service": service} | said) for name, said in settings.items()}
    return {name: router for name, router in sorted(routers.items()) if router["rule"]}


def _router(settings: Mapping[str, str]) -> Mapping[str, Any]:
    router: dict[str, Any] = {"rule": settings["rule"], "service": settings["service"]}
    for name in ("entryPoints", "middlewares"):
        if said := settings.get(name.lower()):
            router[name] = [each.strip() for each in said.split(",") if each.strip()]
    if (priority := settings.get("priority", "")).isdecimal():
        router["priority"] = int(priority)
    if "tls.certresolver" in settings:
        router["tls"] = {"certResolver": settings["tls.certresolver"]}
    elif settings.get("tls", "false").lower() in _TRUE:
        router["tls"] = {}
    return router
