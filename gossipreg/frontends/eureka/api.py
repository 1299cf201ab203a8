"""The Eureka API: its routes, the form of its answers, and errors as a status with a sentence of text."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import attrs
import trio

from gossipreg.errors import GossipregError
from gossipreg.frontends.eureka.applications import ApplicationCache
from gossipreg.frontends.eureka.documents import DocumentForm, format_of, read
from gossipreg.frontends.eureka.instance_document import InstanceDocument
from gossipreg.frontends.eureka.instance_info import STATUSES
from gossipreg.frontends.eureka.leases import Leases
from gossipreg.frontends.eureka.overrides import Overrides
from gossipreg.frontends.eureka.posted_instance import PostedInstance
from gossipreg.frontends.eureka.trees import MalformedDocument, whole_number
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import QueryParameters, Request, split_target
from gossipreg.frontends.serving.response import HttpError, Reply, Response, http_error
from gossipreg.frontends.serving.router import Router
from gossipreg.frontends.serving.scopes import Action
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Instance
from gossipreg.text import shown
from gossipreg.values import frozen

#: Where its clients look, by default: Spring's, and those of Netflix.
_ROOTS: Final = ("/eureka", "/eureka/v2")


@frozen
class EurekaRequest:
    """One request: what its path names, the rest of it, and the form that its client reads."""

    names: Mapping[str, str]
    query: QueryParameters
    body: bytes
    form: DocumentForm
    permit: Callable[[Action], None]  # raises a `HttpError` unless the client may do that

    @property
    def app(self) -> str:
        """The application, which Eureka's clients write as they like."""
        return self.names["app"].upper()

    @property
    def id(self) -> str:
        """The instance."""
        return self.names["id"]


@frozen
class EurekaController:
    """What Eureka does, for one node."""

    apps: ApplicationCache
    leases: Leases
    overrides: Overrides
    turn: trio.Lock  # held from reading an instance to replacing it

    @classmethod
    def of(cls, server: ServerContext) -> EurekaController:
        """For the node of ``server``."""
        node, overrides = server.node, Overrides(server.node, server.own_node)
        leases = Leases(node, overrides)
        return cls(ApplicationCache(node, trio.current_time), leases, overrides, server.turn)

    # What there is

    async def everything(self, request: EurekaRequest) -> Response:
        """All applications."""
        return _document(request.form, await self.apps.everything(request.form))

    async def delta(self, request: EurekaRequest) -> Response:
        """What changed in the last minutes."""
        return _document(request.form, await self.apps.changes(request.form))

    async def app(self, request: EurekaRequest) -> Response:
        """One application."""
        app = await self.apps.app(request.app)
        if app is None:
            raise HttpError(404, f"there is no application {shown(request.app)}")
        return _document(
            request.form, request.form.format.alone("application", await app.written(request.form, TimeSlicer()))
        )

    async def instance(self, request: EurekaRequest) -> Response:
        """One instance of an application, or the first that has such an id in any. It is whole in any form."""
        form = DocumentForm(request.form.format)
        return _document(form, form.format.alone("instance", (await self._found(request)).written(form)))

    async def vip(self, request: EurekaRequest) -> Response:
        """The instances with a virtual address."""
        return _document(request.form, await self.apps.at_address(request.names["vip"], request.form, secure=False))

    async def secure_vip(self, request: EurekaRequest) -> Response:
        """The instances with a secure virtual address."""
        return _document(request.form, await self.apps.at_address(request.names["vip"], request.form, secure=True))

    # What clients do

    async def register(self, request: EurekaRequest) -> Response:
        """Register an instance, or replace it. Clients take no other status than 204 for a success."""
        now = time.time_ns() // 1_000_000
        posted = PostedInstance.read(request.app, read(request.body), now, format_of(request.body))
        async with self.turn:
            await self.leases.register(posted)
        return Response(204)

    async def renew(self, request: EurekaRequest) -> Response:
        """The client is there; at a 404 it registers its instance again."""
        said = request.query.get("lastDirtyTimestamp")
        dirty = None if said is None else whole_number(said)
        if said is not None and dirty is None:
            raise HttpError(400, f"lastDirtyTimestamp: {shown(said)} is not a whole number")
        await self.leases.renew(request.app, request.id, dirty)
        return Response(200)

    async def cancel(self, request: EurekaRequest) -> Response:
        """The client takes its instance back."""
        async with self.turn:
            await self.leases.cancel(request.app, request.id)
        return Response(200)

    async def change_metadata(self, request: EurekaRequest) -> Response:
        """Add what the query says to an instance's metadata."""
        first = dict(reversed(request.query.pairs))  # of a repeated key the first counts, as in Eureka
        async with self.turn:
            await self.leases.change(request.app, request.id, first)
        return Response(200)

    async def set_status(self, request: EurekaRequest) -> Response:
        """Override the status of an instance, whatever its client says; it is not called."""
        status = request.query.first("value")
        if status not in STATUSES:
            raise HttpError(400, f"value: {shown(status)} is none of {', '.join(STATUSES)}")
        instance, as_policy = await self._to_override(request)
        await self.overrides.set(instance, status, as_policy=as_policy)
        return Response(200)

    async def clear_status(self, request: EurekaRequest) -> Response:
        """Leave an instance's status to its client again."""
        instance, as_policy = await self._to_override(request)
        await self.overrides.lift(instance.service, instance.id, as_policy=as_policy)
        return Response(200)

    async def _to_override(self, request: EurekaRequest) -> tuple[Instance, bool]:
        """The instance that is meant, and whether it takes the right to set policies, as in the native API.

        It does where another node owns one of that id, and where an operator has set maintenance.
        """
        found = await self._found(request)
        node = self.leases.node
        known = node.lookup(found.source.service, healthy=False)
        is_anothers = any(each.id == found.source.id and each.owner != node.name for each in known)
        as_policy = is_anothers or self.overrides.is_operators(found.source)
        if as_policy:
            request.permit(Action.SET_POLICY)
        return found.source, as_policy

    async def _found(self, request: EurekaRequest) -> InstanceDocument:
        """The instance that is named. Raises a 404 ``HttpError``."""
        if "app" in request.names:
            app = await self.apps.app(request.app)
            found = None if app is None else app.instances.get(request.id)
        else:
            found = await self.apps.instance(request.id)
        if found is None:
            raise HttpError(404, f"there is no instance {shown(request.id)}")
        return found


Handler = Callable[[EurekaController, EurekaRequest], Awaitable[Response]]

_ROUTES: Final[tuple[tuple[str, str, Action, Handler], ...]] = (
    ("GET", "apps", Action.READ_CLUSTER, EurekaController.everything),
    ("GET", "apps/delta", Action.READ_CLUSTER, EurekaController.delta),
    ("GET", "apps/{app}", Action.READ_CLUSTER, EurekaController.app),
    ("GET", "apps/{app}/{id}", Action.READ_CLUSTER, EurekaController.instance),
    ("GET", "instances/{id}", Action.READ_CLUSTER, EurekaController.instance),
    ("GET", "vips/{vip}", Action.READ_CLUSTER, EurekaController.vip),
    ("GET", "svips/{vip}", Action.READ_CLUSTER, EurekaController.secure_vip),
    ("POST", "apps/{app}", Action.REGISTER, EurekaController.register),
    ("PUT", "apps/{app}/{id}", Action.REPORT_HEALTH, EurekaController.renew),
    ("DELETE", "apps/{app}/{id}", Action.REGISTER, EurekaController.cancel),
    ("PUT", "apps/{app}/{id}/metadata", Action.REGISTER, EurekaController.change_metadata),
    ("PUT", "apps/{app}/{id}/status", Action.SET_MAINTENANCE, EurekaController.set_status),
    ("DELETE", "apps/{app}/{id}/status", Action.SET_MAINTENANCE, EurekaController.clear_status),
)

_PATHS: Final = Router(
    ((method, f"{root}/{path}", (action, handler)) for root in _ROOTS for method, path, action, handler in _ROUTES),
    spanning=("id", "vip"),
)


@attrs.define(eq=False, repr=False)
class Eureka:
    """Answers Eureka's clients."""

    _controller: EurekaController | None = attrs.field(init=False, default=None)

    @property
    def routes(self) -> tuple[tuple[str, str, Action], ...]:
        """See `CompatibilityApi`."""
        return tuple((method, pattern, action) for method, pattern, (action, _) in _PATHS.routes)

    def token(self, request: Request) -> str | None:
        """See `CompatibilityApi`."""
        return _token(request)

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """The pattern of the path that was found, and the answer."""
        pattern, handler = "", None
        try:
            path, query = split_target(request.target)
            found = _PATHS.find(request.method, path)
            pattern, (action, handler) = found.pattern, found.handler
            permit = partial(server.access.permit, _token(request))
            permit(action)
            form = DocumentForm.accepted(request.header(b"accept"), request.header(b"x-eureka-accept"))
            return pattern, await handler(
                self._at(server), EurekaRequest(found.arguments, query, request.body, form, permit)
            )
        except (MalformedDocument, HttpError, GossipregError) as error:
            no = _error_response(error)
            # Netflix's client reads an instance from whatever comes with the answer to a renewal, and if that is
            # anything else, does not even see that it is to register again.
            return pattern, attrs.evolve(no, content=b"") if handler is EurekaController.renew else no

    def _at(self, server: ServerContext) -> EurekaController:
        """What is kept between requests; nothing is, as long as there are none."""
        if self._controller is None:
            self._controller = EurekaController.of(server)
        return self._controller


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


def _document(form: DocumentForm, body: bytes) -> Response:
    return Response(200, body, media=form.format.value)


def _error_response(error: MalformedDocument | HttpError | GossipregError) -> Response:
    """A status, which is all that clients read of an error, and a sentence for people."""
    refused = HttpError(400, str(error)) if isinstance(error, MalformedDocument) else http_error(error)
    is_unauthorized = refused.status == 401
    headers = ((b"www-authenticate", b'Basic realm="gossipreg"'),) if is_unauthorized else refused.headers
    return Response(refused.status, str(refused).encode("utf-8", "replace"), headers, b"text/plain; charset=utf-8")
