"""Knows how Traefik is told of services: the dynamic configuration that its ``http`` provider polls.

Instances say what Traefik is to make of their service in labels, as they do for its other providers: in tags
(``traefik.http.routers.shop.rule=Host(`shop.example.com`)``) or in their meta, under the same names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from gossipreg.doors.dialects.dialect import Paths, Query, refused, split
from gossipreg.doors.dialects.settling import is_settling
from gossipreg.doors.http.access import Scope
from gossipreg.doors.http.answers import Answer, Refusal, encode, shown
from gossipreg.doors.http.call import Room
from gossipreg.doors.http.registry import Registry
from gossipreg.doors.http.request import Request
from gossipreg.doors.http.routes import Reply
from gossipreg.errors import GossipregError
from gossipreg.model import Instance

_ROUTER: Final = re.compile(r"traefik\.http\.routers\.([^.@]+)\.([a-z.]+)", re.IGNORECASE)
_SERVICE: Final = re.compile(r"traefik\.http\.services\.[^.@]+\.loadbalancer\.([a-z.]+)", re.IGNORECASE)

_TRUE: Final = frozenset({"true", "1", ""})

#: What the query may narrow the document by, or add to it.
PARAMETERS: Final = ("service", "tag", "zone", "rule")

_PATHS: Final = Paths([("GET", "/traefik/v1/config", "config")])


def dialect() -> Traefik:
    """Traefik's."""
    return Traefik()


@attrs.define(eq=False, repr=False)
class Traefik:
    """Answers with one document for everything, or for what the query narrows it to."""

    prefixes: tuple[str, ...] = ("/traefik",)
    routine: frozenset[tuple[str, str]] = frozenset()

    def token(self, request: Request) -> str | None:
        """As everywhere."""
        return request.token

    async def answer(self, request: Request, room: Room) -> tuple[str, Reply]:
        """The dynamic configuration. While the node is young it is refused, so Traefik keeps what it has."""
        pattern = ""
        try:
            path, query = split(request.target)
            pattern = _PATHS.find(request.method, path).pattern
            room.access.check(request.token, Scope.READ)
            _check(query, room.node)
            return pattern, Answer(200, encode(configuration(room.node, query)))
        except (Refusal, GossipregError) as error:
            status, sentence = refused(error)
            headers = error.answer.headers if isinstance(error, Refusal) else ()
            return pattern, Answer.error(status, sentence, headers)


def _check(query: Query, node: Registry) -> None:
    if is_settling(node.info()):
        raise Refusal(503, "this agent has just been started: it may not know all services yet")
    for name, _ in query.pairs:
        if name not in PARAMETERS:
            raise Refusal(400, f"there is no query parameter {shown(name)}: there are {', '.join(PARAMETERS)}")
    for text in query.all("rule"):
        if "{service}" not in text:
            raise Refusal(400, f"rule: {shown(text)} does not say where {{service}} stands in it")


def configuration(node: Registry, query: Query) -> Mapping[str, Any]:
    """Every service that there is, or that the query names, and the routers that lead to it."""
    services: dict[str, Any] = {}
    routers: dict[str, Any] = {}
    tag, zone = query.first("tag") or None, query.first("zone") or None
    for name in query.all("service") or sorted(node.services()):
        known = node.lookup(name, healthy=False, tag=tag, zone=zone)
        labels = _labels(known)
        if known and labels.get("traefik.enable", "true").lower() in _TRUE:
            services[name] = _service(node.lookup(name, tag=tag, zone=zone), labels)
            routers |= _routers(name, labels, query.first("rule"))
    http = {"services": services} | ({"routers": routers} if routers else {})
    return {"http": http} if services else {}


def _labels(instances: Iterable[Instance]) -> Mapping[str, str]:
    """What a service's instances say to Traefik. Where they differ, the one with the lowest id is heard."""
    labels: dict[str, str] = {}
    for instance in sorted(instances, key=_order, reverse=True):
        said = [*instance.meta.items(), *(tag.partition("=")[::2] for tag in instance.tags)]
        labels |= {key: value for key, value in said if key.startswith("traefik.")}
    return labels


def _order(instance: Instance) -> tuple[str, str]:
    return instance.id, instance.owner


def _service(instances: Iterable[Instance], labels: Mapping[str, str]) -> Mapping[str, Any]:
    """Those that can be called. Nobody left is an empty list, so that Traefik answers 503 rather than 404."""
    settings = {read[1].lower(): value for key, value in labels.items() if (read := _SERVICE.fullmatch(key))}
    scheme = settings.get("server.scheme", "http")
    called = [each for each in sorted(instances, key=_order) if each.weight]
    balancer: dict[str, Any] = {
        "servers": [{"url": f"{scheme}://{each.address}", "weight": each.weight} for each in called]
    }
    if "passhostheader" in settings:
        balancer["passHostHeader"] = settings["passhostheader"].lower() in _TRUE
    if "serverstransport" in settings:
        balancer["serversTransport"] = settings["serverstransport"]
    return {"loadBalancer": balancer}


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
