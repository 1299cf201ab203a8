"""Running a migration: both sides, rounds of copying, and what is printed of it until a signal ends it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from typing import Final

import attrs

from gossipreg.cli import show
from gossipreg.cli.client import AgentClient
from gossipreg.cli.time_format import utc
from gossipreg.errors import ConfigError
from gossipreg.migrate.consul import ConsulRegistry
from gossipreg.migrate.copier import Copier
from gossipreg.migrate.endpoint import Endpoint
from gossipreg.migrate.eureka import EurekaRegistry
from gossipreg.migrate.registry import ListedInstance, MigrationSide
from gossipreg.model import Address
from gossipreg.values import frozen

#: Least time for which a copy lasts that is not renewed (seconds), and how many intervals at least.
_LASTS_SECONDS: Final = 30.0
_LASTS_INTERVALS: Final = 6

#: Where a Consul and a Eureka listen, unless the URL says so.
_PORTS: Final = {"consul": 8500, "eureka": 8761}


@attrs.define(eq=False, repr=False)
class Events:
    """Prints what is done: a line of columns, or with ``as_json`` a document a line; notes go to standard error."""

    as_json: bool
    counts: Counter[str] = attrs.field(factory=Counter)

    def __call__(self, what: str, instance: ListedInstance | None, detail: str, to: str = "") -> None:
        """Print one event, about an instance or about a side."""
        self.counts[what] += 1
        if self.as_json:
            said = {} if instance is None else {"service": instance.service, "id": instance.id, "to": to}
            print(json.dumps({"time": utc(time.time()), "event": what, **said, "detail": detail}), flush=True)
        elif instance is None:
            show.note(detail)
        else:
            place = f"{instance.host}:{instance.port}"
            columns = (what, instance.service, instance.id, place, to, detail)
            print("\t".join(each or "-" for each in columns), flush=True)


def endpoints(
    kind: str, url: str, agent: AgentClient, name: str | None, *, from_token: str | None
) -> tuple[MigrationSide, MigrationSide]:
    """The registry to copy, and the agent as one of its kind. Raises ``ConfigError``, ``RegistryUnreachable``."""
    if not isinstance(agent.address, Address):
        raise ConfigError(f"--to: {agent.address} is a socket file, and migrate asks over TCP: write HOST:PORT")
    there = Endpoint.at(url, default_port=_PORTS[kind], token=from_token)
    scheme = "https" if agent.is_tls else "http"
    here = Endpoint.at(f"{scheme}://{agent.address}", default_port=_PORTS["consul"], token=agent.token)
    if (there.host, there.port) == (here.host, here.port):
        raise ConfigError(f"--from: {there.place} is the agent itself: name the registry to copy")
    cluster = f"gossipreg:{agent.get('node')['cluster']}"
    if kind == "consul":
        return ConsulRegistry.at(there, name), ConsulRegistry.at(here, cluster)
    if not there.path:
        there = attrs.evolve(there, path="/eureka")
    return EurekaRegistry(there, name or "eureka"), EurekaRegistry(attrs.evolve(here, path="/eureka"), cluster)


def run(
    source: MigrationSide, target: MigrationSide, events: Events, *, interval: float | None, both_ways: bool, dry: bool
) -> None:
    """Copy once, or with an ``interval`` (seconds) until SIGTERM or SIGINT."""
    seconds = None if interval is None else max(_LASTS_SECONDS, _LASTS_INTERVALS * interval)
    source.instances()  # the first answer has to come: raises what is wrong with the URL
    copiers = [Copier(source, target, _Directed(events, target.name), seconds, dry)]
    if both_ways:
        copiers.append(Copier(target, source, _Directed(events, source.name), seconds, dry))
    ended = threading.Event()
    if interval is not None and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
    while True:
        for copier in copiers:
            copier.round(time.monotonic())
        if interval is None or dry or ended.wait(interval):
            break
    for copier in copiers:
        events("ended", None, _last_words(copier, events))


@frozen
class _Directed:
    """Events about copies at one side."""

    events: Events
    to: str

    def __call__(self, what: str, instance: ListedInstance | None, detail: str) -> None:
        self.events(what, instance, detail, self.to)


def _last_words(copier: Copier, events: Events) -> str:
    """What is left at the end."""
    if copier.dry:
        count = events.counts["would copy"]
        return (
            f"{count} instances would be copied from {copier.source.name} to {copier.target.name}; nothing is changed"
        )
    left = f"{copier.copies} copies from {copier.source.name} stay at {copier.target.name}"
    if copier.seconds is None:
        return f"{left}; nothing renews them: remove them when their originals have moved"
    return f"{left}; they lapse in {copier.seconds:.0f} s unless this runs again"
