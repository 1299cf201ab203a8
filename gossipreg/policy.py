"""Cluster-wide policies: splits of a service's load, weights, instances in maintenance, and prepared queries.

A rule states the effect; a policy is a rule with its writer and time. Any node may set one, all nodes obey it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, get_args

import attrs

from gossipreg import limits
from gossipreg.errors import InvalidPolicy
from gossipreg.model import Instance, is_name
from gossipreg.prepared_query import PreparedQuery
from gossipreg.text import is_text, shown
from gossipreg.values import frozen

By = Literal["tag", "zone"]


def _shares(value: Mapping[str, int]) -> Mapping[str, int]:
    return dict(value) if isinstance(value, Mapping) else value  # else for `Split.check` to refuse by name


@frozen
class Split:
    """How the load of ``service`` is shared between those with one tag (or in one zone) and those with another.

    Shares are in proportion to each other. Within one, instances share by their weights; who is in several counts in
    the first, who is in none gets nothing. A share without an instance that can serve goes to the others.
    """

    kind: ClassVar[str] = "split"
    service: str
    shares: Mapping[str, int] = attrs.field(converter=_shares, hash=False)
    by: By = "tag"

    @property
    def key(self) -> str:
        """What it is about: a later rule with the same key takes its place."""
        return f"{self.kind}:{self.service}"

    def check(self) -> None:
        """Raise ``InvalidPolicy``, naming the field, unless it can be obeyed."""
        _check_service(self.service)
        if not isinstance(self.by, str) or self.by not in get_args(By):
            raise InvalidPolicy("by", f"{self.by!r:.80} is neither tag nor zone")
        if not isinstance(self.shares, dict):
            raise InvalidPolicy("split", f"{self.shares!r:.80} does not give shares by {self.by}, as in v1=90 v2=10")
        if not 1 <= len(self.shares) <= limits.SPLIT_SHARES_MAX:
            raise InvalidPolicy("split", f"give 1 to {limits.SPLIT_SHARES_MAX} shares, as in v1=90 v2=10")
        for label, share in self.shares.items():
            if not isinstance(label, str) or not 0 < len(label) <= limits.TAG_CHARS_MAX or not is_text(label):
                raise InvalidPolicy.unusable("split", label, f"a {self.by}")
            _check_whole("split", share, limits.WEIGHT_MAX, f"the share of {label!r:.80}: ")
        if not any(self.shares.values()):
            raise InvalidPolicy("split", "at least one share must be greater than 0: take instances out by maintenance")

    def stated(self) -> dict[str, Any]:
        """Its fields beside kind and service."""
        return {"by": self.by, "shares": dict(self.shares)}

    def is_about(self, instance: Instance) -> bool:
        """Whether ``instance`` is one of the service's."""
        return instance.service == self.service


@frozen
class WeightOverride:
    """What the instance of that id weighs, whatever its owner says; with ``owner``, only the one of that member."""

    kind: ClassVar[str] = "weight"
    service: str
    instance: str
    weight: int
    owner: str = ""  # the member whose instance is meant; empty: any member that has one of that id

    @property
    def key(self) -> str:
        """What it is about."""
        return key_of(self.kind, self.service, self.instance, self.owner)

    def check(self) -> None:
        """Raise ``InvalidPolicy``, naming the field, unless it can be obeyed."""
        _check_service(self.service)
        _check_instance(self.instance)
        _check_owner(self.owner, self.key)
        _check_whole("weight", self.weight, limits.WEIGHT_MAX)

    def stated(self) -> dict[str, Any]:
        """Its fields beside kind and service."""
        return {"instance": self.instance, **_stated(self.owner), "weight": self.weight}

    def is_about(self, instance: Instance) -> bool:
        """Whether ``instance`` is meant, unless another rule names it together with its owner."""
        return _is_about(self, instance)


@frozen
class Maintenance:
    """Takes the instance of that id out, whatever its checks say; with ``owner``, only the one of that member."""

    kind: ClassVar[str] = "maintenance"
    service: str
    instance: str
    reason: str = ""
    owner: str = ""  # as in `WeightOverride`

    @property
    def key(self) -> str:
        """What it is about."""
        return key_of(self.kind, self.service, self.instance, self.owner)

    def check(self) -> None:
        """Raise ``InvalidPolicy``, naming the field, unless it can be obeyed."""
        _check_service(self.service)
        _check_instance(self.instance)
        _check_owner(self.owner, self.key)
        if not isinstance(self.reason, str) or len(self.reason) > limits.REASON_CHARS_MAX:
            raise InvalidPolicy("reason", f"give a text of up to {limits.REASON_CHARS_MAX} characters")
        if not is_text(self.reason):
            raise InvalidPolicy("reason", "it holds half a surrogate pair, which is no character")

    def stated(self) -> dict[str, Any]:
        """Its fields beside kind and service."""
        return {"instance": self.instance, **_stated(self.owner), "reason": self.reason}

    def is_about(self, instance: Instance) -> bool:
        """Whether ``instance`` is meant, unless another rule names it together with its owner."""
        return _is_about(self, instance)


Rule = Split | WeightOverride | Maintenance | PreparedQuery

KINDS: Final[Mapping[str, type[Rule]]] = {
    each.kind: each for each in (Split, WeightOverride, Maintenance, PreparedQuery)
}


def check_rule(rule: object) -> None:
    """Raise ``InvalidPolicy`` for what is no rule, or for one that cannot be obeyed."""
    if not isinstance(rule, Rule):
        kinds = ", ".join(each.__name__ for each in KINDS.values())
        raise InvalidPolicy("rule", f"{rule!r:.80} is none of {kinds}")
    rule.check()


@frozen
class Policy:
    """A rule that is in force, the member that set it, and when (seconds since the epoch, by the setter's clock)."""

    rule: Rule
    writer: str
    at: float

    @property
    def key(self) -> str:
        """What it is about: `Node.remove_policy` takes it."""
        return self.rule.key


@frozen
class UnreadablePolicy:
    """What a member set that this version does not understand: nodes of a later one may obey it. It can be removed."""

    key: str
    writer: str
    at: float  # seconds since the epoch, by the setter's clock


def key_of(kind: str, service: str, instance: str, owner: str = "") -> str:
    """The key of a rule about an instance. No service's name holds an ``@``, so that no two keys are alike."""
    return f"{kind}:{service}@{owner}:{instance}" if owner else f"{kind}:{service}:{instance}"


def _is_about(rule: WeightOverride | Maintenance, instance: Instance) -> bool:
    named = (instance.service, instance.id) == (rule.service, rule.instance)
    return named and rule.owner in ("", instance.owner)


def _stated(owner: str) -> dict[str, str]:
    """The owner as a rule states it; one without is written as before there was any."""
    return {"owner": owner} if owner else {}


def _check_owner(value: object, key: str) -> None:
    if value != "" and (not isinstance(value, str) or not is_name(value)):
        raise InvalidPolicy.unusable("owner", value, "a member's name: use the one that `gossipreg lookup` shows")
    if len(key) > limits.POLICY_KEY_CHARS_MAX:
        raise InvalidPolicy(
            "owner",
            f"with it the policy's key has {len(key)} characters, {limits.POLICY_KEY_CHARS_MAX} are allowed: "
            "leave it out",
        )


def _check_service(value: object) -> None:
    if not isinstance(value, str) or not is_name(value):
        raise InvalidPolicy.unusable("service", value, "a service's name")


def _check_instance(value: object) -> None:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= limits.ID_CHARS_MAX
        or not all("!" <= character <= "~" for character in value)
    ):
        raise InvalidPolicy.unusable("instance", value, "an id: use the one that `gossipreg lookup` shows")


def _check_whole(field: str, value: object, most: int, of: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        expected = f"a whole number from 0 to {most}"
        raise InvalidPolicy(field, f"{of}{shown(value)} is not {expected}", value=value, expected=expected)
