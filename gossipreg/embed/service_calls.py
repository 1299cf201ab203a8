"""Calls to services: which hosts are services, and one call as a series of attempts, each at another instance.

What the modules for HTTP clients (httpx, requests, aiohttp) share: everything but the sending. An attempt tells the
chooser how it went, once: it failed, it succeeded, or neither, as when the caller gave up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import attrs

from gossipreg.embed.chooser import Chooser, LookupSource
from gossipreg.embed.hedging import HedgeBudget, Hedging
from gossipreg.errors import ConfigError, NoInstance
from gossipreg.model import Instance
from gossipreg.values import frozen

#: Methods that may be sent twice (RFC 9110 §9.2.2).
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

#: Answers after which another instance might serve the request.
UNAVAILABLE: Final = frozenset({502, 503, 504})

#: The shortest timeout that is passed on (seconds): 0 means "do not wait" to some clients, and "for ever" to others.
SHORTEST: Final = 0.001


@frozen
class ServiceHosts:
    """Which hosts are services, and of what name: URLs are in lower case, services need not be."""

    _services: dict[str, str] | None

    @classmethod
    def of(cls, services: Iterable[str] | None) -> ServiceHosts:
        """Those of ``services``; None: each host without a dot and a port, except ``localhost``."""
        return cls(None if services is None else {name.lower(): name for name in services})

    def service(self, host: str | None, port: int | None) -> str | None:
        """The service that a URL with this host and explicit port names; None if it names none."""
        if port is not None or not host:
            return None
        if self._services is not None:
            return self._services.get(host.lower())
        return None if "." in host or ":" in host or host == "localhost" else host


@attrs.define(eq=False, repr=False)
class ServiceCalls:
    """How the calls of one client are made: which instances, how many of them, and for how long.

    ``attempts`` is how many instances are tried at most, the first included; ``per_try`` how long one may take until
    its answer begins, ``total`` how long all may take together, the body included (seconds; None: as the client says).
    """

    chooser: Chooser
    hosts: ServiceHosts
    attempts: int
    per_try: float
    total: float
    budget: HedgeBudget | None = None

    @classmethod
    def of(
        cls,
        registry: LookupSource | Chooser,
        services: Iterable[str] | None,
        *,
        attempts: int,
        per_try: float | None = None,
        total: float | None = None,
        hedging: Hedging | None = None,
    ) -> ServiceCalls:
        """With a chooser for ``registry``, unless it is one. Raises ``ConfigError``."""
        if attempts < 1:
            raise ConfigError(f"attempts: {attempts!r} is not a number of instances, 1 or more")
        for name, limit in (("per_try", per_try), ("total", total)):
            if limit is not None and not limit > 0:
                raise ConfigError(f"{name}: {limit!r} is not a time in seconds above 0")
        return cls(
            registry if isinstance(registry, Chooser) else Chooser(registry),
            ServiceHosts.of(services),
            attempts,
            math.inf if per_try is None else per_try,
            math.inf if total is None else total,
            None if hedging is None else HedgeBudget(hedging),
        )

    def call(self, service: str, *, key: str | None = None, can_repeat: bool = False) -> ServiceCall:
        """A call that begins now. ``can_repeat``: whether it may reach two instances, and its body be sent again."""
        return ServiceCall(self, service, key, can_repeat, self.attempts, self.chooser.clock() + self.total)


@attrs.define(eq=False, repr=False)
class ServiceCall:
    """One call, tried at one instance after another."""

    rules: ServiceCalls
    service: str
    key: str | None
    can_repeat: bool
    attempts_left: int
    deadline: float  # on the chooser's clock
    _tried: list[Instance] = attrs.field(init=False, factory=list)

    def first(self) -> Attempt:
        """The first attempt. Raises ``NoInstance``."""
        return self._begin()

    def another(self) -> Attempt | None:
        """An attempt at an instance that was not tried yet; None where there is none, or no time is left."""
        if self.attempts_left == 0 or self.rules.chooser.clock() >= self.deadline:
            return None
        try:
            return self._begin()
        except NoInstance:
            return None

    def hedge_after(self) -> float | None:
        """After how long (seconds) a second request is due; None: never."""
        if self.rules.budget is None or not self.can_repeat or self.attempts_left == 0:
            return None
        return self.rules.budget.begin(self.service)

    def hedge(self) -> Attempt | None:
        """The second attempt beside one in progress; None where the budget or the instances do not allow it."""
        assert self.rules.budget is not None, "hedge_after has said when"
        return self.another() if self.rules.budget.spend() else None

    def _begin(self) -> Attempt:
        chooser = self.rules.chooser
        self._tried.append(chooser.choose(self.service, key=self.key, excluding=self._tried))
        self.attempts_left -= 1
        chooser.begin(self._tried[-1])
        return Attempt(self, self._tried[-1], chooser.clock())


@attrs.define(eq=False, repr=False)
class Attempt:
    """One attempt at one instance, in progress until `end`."""

    call: ServiceCall
    instance: Instance
    _begun: float  # on the chooser's clock
    _has_answered: bool = attrs.field(init=False, default=False)
    has_failed: bool = attrs.field(init=False, default=False)
    _has_ended: bool = attrs.field(init=False, default=False)

    def restart_clock(self) -> None:
        """Count the time of this attempt from now on: before, it waited for this process."""
        self._begun = self.call.rules.chooser.clock()

    def is_late(self) -> bool:
        """Whether the whole call has taken as long as it may."""
        return self.call.rules.chooser.clock() >= self.call.deadline

    def limit(self, most: float | None) -> float | None:
        """How long the attempt may still take (seconds), and no longer than ``most``; None: for ever."""
        deadline = self.call.deadline
        if not self._has_answered:
            deadline = min(deadline, self._begun + self.call.rules.per_try)
        return self._left(deadline, most)

    def limit_of_call(self, most: float | None) -> float | None:
        """How long the whole call may still take (seconds), and no longer than ``most``; None: for ever."""
        return self._left(self.call.deadline, most)

    def _left(self, deadline: float, most: float | None) -> float | None:
        if deadline == math.inf:
            return most
        left = max(SHORTEST, deadline - self.call.rules.chooser.clock())
        return left if most is None else min(left, most)

    def answered(self, status: int) -> None:
        """Record that an answer with that status code has begun: a failure, if another instance might do better."""
        self._has_answered = True
        if status in UNAVAILABLE:
            self.fail()
        elif self.call.rules.budget is not None:
            self.call.rules.budget.observe(self.call.service, self.call.rules.chooser.clock() - self._begun)

    def fail(self) -> None:
        """Record that the instance has failed, in a way that another might not."""
        if not self.has_failed:
            self.has_failed = True
            self.call.rules.chooser.report_failure(self.instance)

    def end(self, *, succeeded: bool = False) -> None:
        """Record that the attempt is over; ``succeeded`` is ignored after a failure. Only the first call counts."""
        if self._has_ended:
            return
        self._has_ended = True
        if succeeded and not self.has_failed:
            self.call.rules.chooser.report_success(self.instance)
        self.call.rules.chooser.end(self.instance)

    def next_after_error(self, *, was_sent: bool) -> Attempt | None:
        """Record a failure. Returns the next attempt, if there may be one."""
        self.fail()
        self.end()
        return self.call.another() if self.call.can_repeat or not was_sent else None

    def next_after_answer(self) -> Attempt | None:
        """The attempt to make in place of the answer that has begun; None if that is the caller's."""
        return self.call.another() if self.has_failed and self.call.can_repeat else None
