"""Scopes: what a token may be for, and which one each action takes. The one table of all HTTP frontends.

Every route names its action, in the native API as in Consul's, Eureka's, Envoy's and Traefik's: what can be done with a
token does not depend on whose protocol is spoken. ``docs/scopes.md`` is made from this table and the routers.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from fnmatch import fnmatchcase
from typing import Final, Self

from gossipreg.model import is_name
from gossipreg.values import frozen


class Scope(StrEnum):
    """What a token may be for. None includes another: a token has those that it lists."""

    READ = "read"
    WRITE = "write"
    POLICY = "policy"
    CHECKS = "checks"
    CREDENTIALS = "credentials"
    OPERATOR = "operator"
    FEDERATE = "federate"


#: Scopes that a token may have for some services only.
OF_SERVICES: Final = frozenset({Scope.READ, Scope.WRITE, Scope.POLICY, Scope.CREDENTIALS, Scope.FEDERATE})


@frozen
class Grant:
    """A scope as a token lists it: for every service, as in ``read``, or for those of a pattern, as in ``read:web-*``.

    In a pattern ``*`` stands for any text. ``read:*`` is ``read``.
    """

    scope: Scope
    services: str = "*"

    @classmethod
    def read(cls, text: object) -> Self:
        """The grant that is written so. Raises ``ValueError`` with a sentence that does not quote it."""
        word, colon, services = text.partition(":") if isinstance(text, str) else ("", "", "")
        try:
            scope = Scope(word)
        except ValueError:
            raise ValueError(f"is none of {', '.join(Scope)}") from None
        if not colon:
            return cls(scope)
        if scope not in OF_SERVICES:
            raise ValueError(f"cannot be for some services only: only {', '.join(sorted(OF_SERVICES))} can")
        if not is_name(services.replace("*", "x")):
            raise ValueError("is not followed by a service's name, in which * may stand for any text")
        return cls(scope, services)

    def __str__(self) -> str:
        return str(self.scope) if self.services == "*" else f"{self.scope}:{self.services}"

    def covers(self, other: Grant) -> bool:
        """Whether a holder of this one can do all that ``other`` is for."""
        if self.scope is not other.scope:
            return False
        return self.services in ("*", other.services) or ("*" not in other.services and self.is_for(other.services))

    def is_for(self, service: str) -> bool:
        """Whether it is for that service."""
        return self.services == "*" or fnmatchcase(service, self.services)


class Action(Enum):
    """What a client may want to do: the scope that its token must have for it, None for no token; and what it is.

    ``also`` is a second scope with which it may be done, too.
    """

    PROBE = None, "whether the agent is up, or ready: a word and a status code"
    SHOW_PAGE = None, "the files of the web page, which hold nothing of the cluster"
    SHOW_TOKEN = None, "which scopes the token of the request has"
    REQUEST_CERTIFICATE = None, "a node's own certificate, by a join token or by the present one, from an issuer"
    READ_STATUS = Scope.READ, "the agent about itself: name, counters, metrics"
    READ_CLUSTER = Scope.READ, "members, services, instances, policies, roles, and what changes of them"
    FOLLOW = Scope.FEDERATE, "the services of this region that are exported, for agents of another region"
    READ_CHECKS = Scope.READ, "the checks that the agent runs, and how they stand"
    READ_CHECK_OUTPUT = Scope.CHECKS, "what the targets of these checks, and commands, have said"
    READ_CREDENTIALS = Scope.CREDENTIALS, "what it takes to log in to an instance"
    REGISTER = Scope.WRITE, "register, change and remove instances of this agent"
    REPORT_HEALTH = Scope.WRITE, "say how an instance of this agent is: heartbeats"
    SET_MAINTENANCE = Scope.WRITE, "take an instance of this agent out, and put it back in"
    CHECK_MORE = (
        Scope.CHECKS,
        "register a check that asks more than its own host or loopback, POSTs, PUTs, or runs a command",
    )
    SET_POLICY = Scope.POLICY, "policies; and whatever is about an instance of another agent", Scope.OPERATOR
    DRAIN = Scope.OPERATOR, "have the agent ask for no new work, or for work again"
    JOIN = Scope.OPERATOR, "have the agent join others, so that two clusters become one"
    LEAVE = Scope.OPERATOR, "have the agent leave the cluster"
    RELOAD = Scope.OPERATOR, "have the agent read its files again"
    FORGET = Scope.OPERATOR, "have a member that failed forgotten everywhere"
    MANAGE_KEYS = Scope.OPERATOR, "the ids of the keys that seal the gossip; add, use and remove one"
    REVOKE_CERTIFICATE = Scope.OPERATOR, "have every member expel the holder of a certificate"
    MANAGE_TOKENS = Scope.OPERATOR, "the tokens that the whole cluster knows; create and revoke one"
    RESET_ROLE = Scope.OPERATOR, "reset the term of a service"
    ABSENT = Scope.READ, "what there is not: 501, with what to use instead"

    def __init__(self, scope: Scope | None, what: str, also: Scope | None = None) -> None:
        self.scope = scope
        self.what = what
        self.also = also
