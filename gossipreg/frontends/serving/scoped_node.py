"""Scoped node: the node as the requests of a listener may change it.

Every frontend changes the node through this one, so none can forget what a token is for. A token may be for some
services only: each change that its requests bring about has to be of one of those. Each change goes into the audit log.
Reads are the node's own; which of them such a token may ask for follows from the route (see `Access.permit`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

import attrs

from gossipreg.errors import GossipregError
from gossipreg.frontends.serving.access import Token, bound_token, forbidden
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Health, Instance, ServiceTerm
from gossipreg.node_info import JoinResult
from gossipreg.policy import Policy, Rule
from gossipreg.prepared_query import PreparedQuery
from gossipreg.runtime.permission import permission
from gossipreg.spec import InstanceSpec
from gossipreg.tokens import ClusterToken

_Result = TypeVar("_Result")


@attrs.define(eq=False, repr=False)
class ScopedNode:
    """A node whose changes are checked and recorded. What it does not define is ``node``'s own."""

    node: NodeApi
    audit: AuditLog = attrs.field(factory=AuditLog)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    # Instances

    async def register_spec(self, spec: InstanceSpec) -> Instance:
        """See `NodeApi`."""
        self._check_spec(spec)
        return await self._do("register", lambda: self.node.register_spec(spec), service=spec.service, instance=spec.id)

    async def register_many(self, specs: Sequence[InstanceSpec]) -> tuple[Instance, ...]:
        """See `NodeApi`."""
        for each in specs:
            self._check_spec(each)
        services = sorted({each.service for each in specs})
        return await self._do(
            "register_many",
            lambda: self.node.register_many(specs),
            services=services,
            instances=len(specs),
            ids=[each.id for each in specs],
        )

    async def deregister(self, id: str) -> None:
        """See `NodeApi`."""
        await self._do("deregister", lambda: self.node.deregister(id), **self._own(id))

    async def heartbeat(
        self, id: str, *, check: str | None = None, health: Health = Health.PASSING, note: str = ""
    ) -> None:
        """See `NodeApi`. Recorded only if the service says that it is not well: others are frequent."""
        about = self._own(id)

        def beat() -> Awaitable[None]:
            return self.node.heartbeat(id, check=check, health=health, note=note)

        if health is Health.PASSING:
            await beat()
        else:
            await self._do("heartbeat", beat, **about, health=health)

    async def set_maintenance(self, id: str, reason: str | None) -> Instance:
        """See `NodeApi`."""
        action = "end_maintenance" if reason is None else "begin_maintenance"
        return await self._do(action, lambda: self.node.set_maintenance(id, reason), **self._own(id), reason=reason)

    def credentials(self, instance: Instance) -> Mapping[str, str]:
        """See `NodeApi`."""
        _check(Scope.CREDENTIALS, (instance.service,))
        return self.node.credentials(instance)

    def next_term(self, service: str) -> int:
        """See `NodeApi`."""
        _check(Scope.WRITE, (service,))
        return self.node.next_term(service)

    # Policies and roles

    async def set_policy(self, rule: Rule) -> Policy:
        """See `NodeApi`."""
        rule.check()
        _check_rule(rule)
        if bound_token.get() is not None and isinstance(rule, PreparedQuery):  # it may take the place of another
            before = next((each.rule for each in self.node.policies() if each.key == rule.key), None)
            _check_rule(rule if before is None else before)
        about = rule.stated()
        if isinstance(rule, PreparedQuery):  # whose key does not name it
            about["service"] = rule.service
        return await self._do("set_policy", lambda: self.node.set_policy(rule), key=rule.key, **about)

    async def remove_policy(self, key: str) -> None:
        """See `NodeApi`."""
        if bound_token.get() is not None:
            _check_rule(next((each.rule for each in self.node.policies() if each.key == key), None))
        await self._do("remove_policy", lambda: self.node.remove_policy(key), key=key)

    async def reset_term(self, service: str) -> ServiceTerm:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        return await self._do("reset_term", lambda: self.node.reset_term(service), service=service)

    # The cluster

    async def add_gossip_key(self, key: str) -> str:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        return await self._do("add_key", lambda: self.node.add_gossip_key(key))

    async def use_gossip_key(self, id: str, *, force: bool = False, **how: float) -> None:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        await self._do("use_key", lambda: self.node.use_gossip_key(id, force=force, **how), key=id, force=force, **how)

    async def remove_gossip_key(self, id: str) -> None:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        await self._do("remove_key", lambda: self.node.remove_gossip_key(id), key=id)

    async def revoke_certificate(self, revocation: str) -> str:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        return await self._do(
            "revoke_certificate", lambda: self.node.revoke_certificate(revocation), revocation=revocation
        )

    async def issue_certificate(self, request: str) -> str:
        """See `NodeApi`. The request itself shows what it is entitled to, so no token of a client is looked at.

        Any number of requests can come from anyone, so not each is recorded.
        """
        from gossipreg.runtime.certificate_issuing import describe_request  # few agents are asked for certificates

        about = describe_request(request)
        try:
            line = await self.node.issue_certificate(request)
        except GossipregError as error:
            await self.audit.refused("issue_certificate", error.code, **about)
            raise
        # Each renewal of a certificate differs by its time.
        await self.audit.given("issue_certificate", about.get("certificate", line), **about)
        return line

    async def create_token(self, token: ClusterToken) -> ClusterToken:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        about = {"name": token.name, "scopes": list(token.scopes), "expires": token.expires}
        return await self._do("create_token", lambda: self.node.create_token(token), **about)

    async def revoke_token(self, name: str) -> None:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        await self._do("revoke_token", lambda: self.node.revoke_token(name), name=name)

    async def join(self, seeds: str | Iterable[str]) -> JoinResult:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        wanted = [seeds] if isinstance(seeds, str) else list(seeds)
        return await self._do("join", lambda: self.node.join(wanted), seeds=wanted)

    async def forget(self, name: str) -> None:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        await self._do("forget", lambda: self.node.forget(name), member=name)

    async def drain(self, reason: str = "") -> None:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        await self._do("drain", lambda: self.node.drain(reason), reason=reason)

    async def undrain(self) -> None:
        """See `NodeApi`."""
        _check(Scope.OPERATOR, (None,))
        await self._do("undrain", self.node.undrain)

    # How it is done

    def _check_spec(self, spec: InstanceSpec) -> None:
        """What is registered under its id by the time that the id is held is looked at by `check_own_instance`."""
        before = None if spec.id is None else self.node.own(spec.id)
        _check(Scope.WRITE, (spec.service, *(() if before is None else (before.service,))))

    def _own(self, id: str) -> dict[str, object]:
        """What is recorded of an own instance, which the token has to be for."""
        own = self.node.own(id)
        _check(Scope.WRITE, () if own is None else (own.service,))  # else the node says that there is none
        return {"service": None if own is None else own.service, "instance": id}

    async def _do(self, action: str, call: Callable[[], Awaitable[_Result]], **about: object) -> _Result:
        try:
            result = await call()
        except GossipregError as error:
            await self.audit.write(action, error.code, **about)
            raise
        if isinstance(result, Instance):  # a node that chooses the id says so
            about["instance"] = result.id
        await self.audit.write(action, "done", **about)
        return result


#: Whether a policy that is set or removed in this task is the status of an own instance, as Eureka's clients have it.
_is_own_status: Final[ContextVar[bool]] = ContextVar("is_own_status", default=False)


@contextmanager
def status_of_own_instance() -> Iterator[None]:
    """Within it, ``write`` is enough for a policy: the caller has seen that it is about an own instance alone."""
    before = _is_own_status.set(True)
    try:
        yield
    finally:
        _is_own_status.reset(before)


def watch(token: Token | None) -> None:
    """Check all that this task changes from now on, if the ``token`` of its client is for certain services only."""
    bound = token if token is not None and token.bound else None
    bound_token.set(bound)
    permission.set(None if bound is None else partial(check_own_instance, bound))


def check_own_instance(token: Token, instance: Instance) -> None:
    """Raise a 403 ``HttpError`` unless ``token`` may change this own instance."""
    if not token.has(Scope.WRITE, instance.service):
        raise forbidden(token, Scope.WRITE, instance.service)


def _check_rule(rule: Rule | None) -> None:
    scope = Scope.WRITE if _is_own_status.get() else Scope.POLICY
    if isinstance(rule, PreparedQuery):  # it answers in place of the service of its name; a template in that of several
        # A query's name is found in any case, and DNS asks for it in lower case.
        _check(scope, (rule.service, *((None,) if rule.template else (rule.name, rule.name.lower()))))
        return
    _check(scope, (None if rule is None else rule.service,))


def _check(scope: Scope, services: Iterable[str | None]) -> None:
    """Raise a 403 ``HttpError`` unless the token is for ``scope`` of each service; None stands for all."""
    token = bound_token.get()
    if token is None:
        return
    for each in services:
        if not token.has(scope, each) and not (scope is Scope.POLICY and token.has(Scope.OPERATOR)):
            raise forbidden(token, scope, each)
