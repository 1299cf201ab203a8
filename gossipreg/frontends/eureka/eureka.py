"""Knows what Eureka answers at which path, in which form, and how it says no: by its status, and a sentence of text."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import attrs
import trio

from gossipreg.errors import GossipregError
from gossipreg.frontends.eureka.apps import Apps
from gossipreg.frontends.eureka.leases import Leases
from gossipreg.frontends.eureka.overrides import Overrides
from gossipreg.frontends.eureka.posted import Posted
from gossipreg.frontends.eureka.shown import STATUSES, Shown
from gossipreg.frontends.eureka.trees import Form, Malformed, read, whole_number
from gossipreg.frontends.http.answers import Answer, Refusal
from gossipreg.frontends.http.call import Room
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.request import Request
from gossipreg.frontends.http.routes import Reply
from gossipreg.frontends.http.scopes import Action
from gossipreg.frontends.http.slices import Pace
from gossipreg.frontends.serving.compatibility_api import Paths, Query, refused, split
from gossipreg.model import Instance
from gossipreg.text import shown

#: Where its clients look, by default: Spring's, and those of Netflix.
_ROOTS: Final = ("/eureka", "/eureka/v2")


@attrs.frozen
class Asked:
    """One request: what its path names, the rest of it, and the form that its client reads."""

    names: Mapping[str, str]
    query: Query
    body: bytes
    form: Form
    permit: Callable[[Action], None]  # raises a `Refusal` unless the client may do that

    @property
    def app(self) -> str:
        """The application, which Eureka's clients write as they like."""
        return self.names["app"].upper()

    @property
    def id(self) -> str:
        """The instance."""
        return self.names["id"]


@attrs.frozen
class Desk:
    """What Eureka does, for one node."""

    apps: Apps
    leases: Leases
    overrides: Overrides

    @classmethod
    def of(cls, node: Registry) -> Desk:
        """For ``node``."""
        overrides = Overrides(node)
        return cls(Apps(node, trio.current_time), Leases(node, overrides), overrides)

    # What there is

    async def everything(self, asked: Asked) -> Answer:
        """All applications."""
        return _document(asked.form, await self.apps.everything(asked.form))

    async def delta(self, asked: Asked) -> Answer:
        """What changed in the last minutes."""
        return _document(asked.form, await self.apps.changes(asked.form))

    async def app(self, asked: Asked) -> Answer:
        """One application."""
        app = await self.apps.app(asked.app)
        if app is None:
            raise Refusal(404, f"there is no application {shown(asked.app)}")
        return _document(asked.form, asked.form.alone("application", await app.written(asked.form, Pace())))

    async def instance(self, asked: Asked) -> Answer:
        """One instance of an application, or the first that has such an id in any."""
        return _document(asked.form, asked.form.alone("instance", (await self._found(asked)).written(asked.form)))

    async def vip(self, asked: Asked) -> Answer:
        """The instances with a virtual address."""
        return _document(asked.form, await self.apps.at_address("vipAddress", asked.names["vip"], asked.form))

    async def secure_vip(self, asked: Asked) -> Answer:
        """The instances with a secure virtual address."""
        return _document(asked.form, await self.apps.at_address("secureVipAddress", asked.names["vip"], asked.form))

    # What clients do

    async def register(self, asked: Asked) -> Answer:
        """Register an instance, or replace it. Clients take no other status than 204 for a success."""
        await self.leases.register(Posted.read(asked.app, read(asked.body), time.time_ns() // 1_000_000))
        return Answer(204)

    async def renew(self, asked: Asked) -> Answer:
        """The client is there; at a 404 it registers its instance again."""
        await self.leases.renew(asked.app, asked.id, whole_number(asked.query.first("lastDirtyTimestamp")))
        return Answer(200)

    async def cancel(self, asked: Asked) -> Answer:
        """The client takes its instance back."""
        await self.leases.cancel(asked.app, asked.id)
        return Answer(200)

    async def change_metadata(self, asked: Asked) -> Answer:
        """Add what the query says to an instance's metadata."""
        await self.leases.change(asked.app, asked.id, dict(asked.query.pairs))
        return Answer(200)

    async def set_status(self, asked: Asked) -> Answer:
        """Have an instance shown with a status, whatever its client says, and not be called."""
        status = asked.query.first("value").upper()
        if status not in STATUSES:
            raise Refusal(400, f"value: {shown(status)} is none of {', '.join(STATUSES)}")
        await self.overrides.set(await self._to_override(asked), status)
        return Answer(200)

    async def clear_status(self, asked: Asked) -> Answer:
        """Leave an instance's status to its client again."""
        instance = await self._to_override(asked)
        await self.overrides.lift(instance.service, instance.id)
        return Answer(200)

    async def _to_override(self, asked: Asked) -> Instance:
        """The instance that is meant. Where another node owns one of that id, it is a policy as in the native API."""
        found = await self._found(asked)
        node = self.leases.node
        known = node.lookup(found.source.service, healthy=False)
        if any(each.id == found.source.id and each.owner != node.name for each in known):
            asked.permit(Action.SET_POLICY)
        return found.source

    async def _found(self, asked: Asked) -> Shown:
        """The instance that is named. Raises a 404 ``Refusal``."""
        if "app" in asked.names:
            app = await self.apps.app(asked.app)
            found = None if app is None else app.instances.get(asked.id)
        else:
            found = await self.apps.instance(asked.id)
        if found is None:
            raise Refusal(404, f"there is no instance {shown(asked.id)}")
        return found


Handler = Callable[[Desk, Asked], Awaitable[Answer]]

_ROUTES: Final[tuple[tuple[str, str, Action, Handler], ...]] = (
    ("GET", "apps", Action.READ_CLUSTER, Desk.everything),
    ("GET", "apps/delta", Action.READ_CLUSTER, Desk.delta),
    ("GET", "apps/{app}", Action.READ_CLUSTER, Desk.app),
    ("GET", "apps/{app}/{id}", Action.READ_CLUSTER, Desk.instance),
    ("GET", "instances/{id}", Action.READ_CLUSTER, Desk.instance),
    ("GET", "vips/{vip}", Action.READ_CLUSTER, Desk.vip),
    ("GET", "svips/{vip}", Action.READ_CLUSTER, Desk.secure_vip),
    ("POST", "apps/{app}", Action.REGISTER, Desk.register),
    ("PUT", "apps/{app}/{id}", Action.REPORT_HEALTH, Desk.renew),
    ("DELETE", "apps/{app}/{id}", Action.REGISTER, Desk.cancel),
    ("PUT", "apps/{app}/{id}/metadata", Action.REGISTER, Desk.change_metadata),
    ("PUT", "apps/{app}/{id}/status", Action.SET_MAINTENANCE, Desk.set_status),
    ("DELETE", "apps/{app}/{id}/status", Action.SET_MAINTENANCE, Desk.clear_status),
)

_PATHS: Final = Paths(
    (method, f"{root}/{path}", (action, handler)) for root in _ROOTS for method, path, action, handler in _ROUTES
)


@attrs.define(eq=False, repr=False)
class Eureka:
    """Answers Eureka's clients with what its door's node knows."""

    prefixes: tuple[str, ...] = ("/eureka",)
    routine: frozenset[tuple[str, str]] = frozenset(("PUT", f"{root}/apps/{{app}}/{{id}}") for root in _ROOTS)
    _desk: Desk | None = attrs.field(init=False, default=None)

    @property
    def routes(self) -> tuple[tuple[str, str, Action], ...]:
        """See `Dialect`."""
        return tuple((method, pattern, action) for method, pattern, (action, _) in _PATHS.routes)

    def token(self, request: Request) -> str | None:
        """See `Dialect`."""
        return _token(request)

    async def answer(self, request: Request, room: Room) -> tuple[str, Reply]:
        """The pattern of the path that was found, and the answer."""
        pattern, handler = "", None
        try:
            path, query = split(request.target)
            found = _PATHS.find(request.method, path)
            pattern, (action, handler) = found.pattern, found.handler
            permit = partial(room.access.permit, _token(request))
            permit(action)
            form = Form.accepted(request.header(b"accept"))
            return pattern, await handler(self._at(room), Asked(found.arguments, query, request.body, form, permit))
        except (Malformed, Refusal, GossipregError) as error:
            no = _no(error)
            # Netflix's client reads an instance from whatever comes with the answer to a renewal, and if that is
            # anything else, does not even see that it is to register again.
            return pattern, attrs.evolve(no, body=b"") if handler is Desk.renew else no

    def _at(self, room: Room) -> Desk:
        """What is kept between requests; nothing is, as long as there are none."""
        if self._desk is None:
            self._desk = Desk.of(room.node)
        return self._desk


def _token(request: Request) -> str | None:
    """What the client shows to be let in: a token of ours, or what stands in the URL that it was given.

    Eureka's clients can send no more than that: ``http://any:TOKEN@host``. The user's name means nothing.
    """
    scheme, _, text = (request.header(b"authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return request.token
    try:
        user, _, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError:
        return request.token
    return password or user


def _document(form: Form, body: bytes) -> Answer:
    return Answer(200, body, media=form.value)


def _no(error: Malformed | Refusal | GossipregError) -> Answer:
    """A status, which is all that clients read of a no, and a sentence for people."""
    status, sentence = (400, str(error)) if isinstance(error, Malformed) else refused(error)
    headers = error.answer.headers if isinstance(error, Refusal) else ()
    if status == 401:
        headers = ((b"www-authenticate", b'Basic realm="gossipreg"'),)
    return Answer(status, sentence.encode("utf-8", "replace"), headers, b"text/plain; charset=utf-8")
