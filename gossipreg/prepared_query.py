"""Prepared queries: named questions about a service, kept by the cluster and carried out by any of its agents.

The form is that of Consul's prepared queries. A query is a rule that changes no instance: it spreads, and is stored and
removed, as policies are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

import attrs

from gossipreg import limits
from gossipreg.durations import parse_duration
from gossipreg.errors import InvalidPolicy
from gossipreg.model import Instance, is_name
from gossipreg.text import is_text
from gossipreg.values import frozen

_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: What a template may take from the name that was asked for.
_PLACES: Final = ("${name.full}", "${name.prefix}", "${name.suffix}")
_PLACE: Final = re.compile(r"\$\{[^}]*\}?")


def _texts(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # else for `PreparedQuery.check` to refuse by name


def _map(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


@frozen
class PreparedQuery:
    """Which instances of ``service`` are meant, under an id and a name, and in which regions if none is here.

    A template is meant by every name that begins with its own, unless a longer one is, or a query of exactly that name.
    In its service, tags, ``near`` and regions ``${name.full}``, ``${name.prefix}`` and ``${name.suffix}`` stand for
    that name, for the template's, and for the rest.
    """

    kind: ClassVar[str] = "query"
    id: str  # a UUID
    service: str
    name: str = ""  # only a template may have none
    tags: tuple[str, ...] = attrs.field(default=(), converter=_texts)  # one that begins with ! must be absent
    only_passing: bool = False  # leaves out instances with a warning
    near: str = ""  # a member's name, or _agent: instances nearest to it come first
    nearest: int = 0  # so many of the nearest regions are tried first
    regions: tuple[str, ...] = attrs.field(default=(), converter=_texts)  # those that are tried then, in order
    ignored_checks: tuple[str, ...] = attrs.field(default=(), converter=_texts)  # ids of checks that count for nothing
    node_meta: Mapping[str, str] = attrs.field(factory=dict, converter=_map, hash=False)
    service_meta: Mapping[str, str] = attrs.field(factory=dict, converter=_map, hash=False)
    ttl: str = ""  # how long clients of DNS may keep an answer, such as 10s; empty: as for any other name
    template: bool = False
    remove_empty_tags: bool = False

    @property
    def key(self) -> str:
        """What it is about: a later rule with the same key takes its place."""
        return f"{self.kind}:{self.id}"

    def check(self) -> None:
        """Raise ``InvalidPolicy``, naming the field, unless it can be carried out."""
        if not isinstance(self.id, str) or not _ID.fullmatch(self.id):
            raise InvalidPolicy.unusable("id", self.id, "a UUID in lower case")
        self._check_types()
        if len(self.name) > limits.PREPARED_QUERY_NAME_CHARS_MAX:
            raise InvalidPolicy("name", f"give up to {limits.PREPARED_QUERY_NAME_CHARS_MAX} characters")
        if not self.name and not self.template:
            raise InvalidPolicy("name", "only a template may be without one")
        if not 0 <= self.nearest <= limits.REGIONS_MAX:
            raise InvalidPolicy("nearest", f"give a whole number from 0 to {limits.REGIONS_MAX}")
        if self.ttl and parse_duration(self.ttl) is None:
            raise InvalidPolicy("ttl", f"{self.ttl!r:.80} is no time such as 10s")
        if not self.template:
            if not is_name(self.service):
                raise InvalidPolicy.unusable("service", self.service, "a service's name")
            return
        for text in (self.service, self.near, *self.tags, *self.regions):
            for found in _PLACE.findall(text):
                if found not in _PLACES:
                    raise InvalidPolicy("template", f"{found!r:.80} is none of {', '.join(_PLACES)}")
        if not self.service:
            raise InvalidPolicy("service", "give a service's name, or ${name.suffix}")

    def _check_types(self) -> None:
        for field in ("service", "name", "near", "ttl"):
            if not _is_text(getattr(self, field)):
                raise InvalidPolicy(field, "give a text")
        for field in ("tags", "regions", "ignored_checks"):
            value = getattr(self, field)
            if not isinstance(value, tuple) or not all(map(_is_text, value)):
                raise InvalidPolicy(field, "give a list of texts")
        for field in ("node_meta", "service_meta"):
            value = getattr(self, field)
            if not isinstance(value, dict) or not all(map(_is_text, (*value, *value.values()))):
                raise InvalidPolicy(field, "give texts by name")
            if len(value) > limits.PREPARED_QUERY_META_ENTRIES_MAX:
                raise InvalidPolicy(field, f"give up to {limits.PREPARED_QUERY_META_ENTRIES_MAX} entries")
        for field in ("only_passing", "template", "remove_empty_tags"):
            if not isinstance(getattr(self, field), bool):
                raise InvalidPolicy(field, "give true or false")
        if not isinstance(self.nearest, int) or isinstance(self.nearest, bool):
            raise InvalidPolicy("nearest", "give a whole number")

    def stated(self) -> dict[str, Any]:
        """Its fields beside kind and service, without those that have their default."""
        fields = {each.name: getattr(self, each.name) for each in attrs.fields(type(self)) if each.name != "service"}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in fields.items()
            if value or name == "id"
        }

    def is_about(self, instance: Instance) -> bool:  # noqa: ARG002 -- as every rule has it
        """False: a query changes no instance."""
        return False

    def named(self, name: str) -> PreparedQuery:
        """The query that this template stands for under ``name``."""
        values = dict(zip(_PLACES, (name, self.name, name[len(self.name) :]), strict=True))

        def filled(text: str) -> str:
            # In one pass: what a client's name holds is no place to be filled in again.
            return _PLACE.sub(lambda place: values[place[0]], text)

        tags = tuple(map(filled, self.tags))
        return attrs.evolve(
            self,
            service=filled(self.service),
            near=filled(self.near),
            regions=tuple(map(filled, self.regions)),
            tags=tuple(each for each in tags if each.strip("!")) if self.remove_empty_tags else tags,
            template=False,
        )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_text(value)


def find(queries: Iterable[PreparedQuery], name: str) -> PreparedQuery | None:
    """The query that ``name`` means, which is an id or a name in any case, filled in if it is a template.

    Of several with one name, which two sides of a split may have defined, the one with the lowest id. A name that is
    longer than that of any query means none: clients make up names, and a template fills each in at many places.
    """
    if len(name) > limits.PREPARED_QUERY_NAME_CHARS_MAX:
        return None
    folded = name.lower()
    template: PreparedQuery | None = None
    named: PreparedQuery | None = None
    for each in queries:
        if each.id == folded:
            return each.named(name) if each.template else each
        own = each.name.lower()
        if own == folded and not each.template and (named is None or each.id < named.id):
            named = each
        if each.template and folded.startswith(own):
            rank = (-len(own), each.id)
            if template is None or rank < (-len(template.name), template.id):
                template = each
    return named or (None if template is None else template.named(name))
