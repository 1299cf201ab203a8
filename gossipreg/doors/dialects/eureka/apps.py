"""Knows the applications that Eureka's clients see: what the node sees, grouped their way, and written down once.

Nothing is done until somebody asks. Then only the services whose index has risen are looked at again; what that comes
to is kept as bytes, and what is different from before is noted for those who ask for changes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from gossipreg.doors.dialects.eureka.recent import Recent
from gossipreg.doors.dialects.eureka.shown import Shown, app_of
from gossipreg.doors.dialects.eureka.trees import Form, Tree, text_of
from gossipreg.doors.http.registry import Registry


@attrs.define(eq=False, repr=False)
class App:
    """One application: its instances by id. Replaced, never changed."""

    name: str
    made_of: tuple[tuple[str, int], ...]  # services, each with its index
    sources: Mapping[tuple[str, str, str], Shown]  # by service, owner and id: also those that are not shown
    instances: Mapping[str, Shown] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        shown: dict[str, Shown] = {}
        for each in self.sources.values():
            if not each.ended and (each.id not in shown or each.rank < shown[each.id].rank):
                shown[each.id] = each
        self.instances = shown

    def written(self, form: Form) -> bytes:
        """The application as one of several in a document."""
        return form.application(self.name, [each.written(form) for each in self.instances.values()])


@attrs.define(eq=False, repr=False)
class Apps:
    """All applications of a node. ``clock`` gives seconds that never go back."""

    node: Registry
    clock: Callable[[], float]
    _index: int = attrs.field(init=False, default=-1)
    _apps: dict[str, App] = attrs.field(init=False, factory=dict)
    _hash: str = attrs.field(init=False, default="")
    _recent: Recent = attrs.field(init=False, factory=Recent)
    _all: dict[Form, bytes] = attrs.field(init=False, factory=dict)
    _changed: dict[Form, tuple[tuple[int, bool], bytes]] = attrs.field(init=False, factory=dict)

    # What is asked for

    def app(self, name: str) -> App | None:
        """One application."""
        self._look()
        return self._apps.get(name)

    def instance(self, id: str) -> Shown | None:
        """The first instance of that id, in the order of the applications' names."""
        self._look()
        return next((app.instances[id] for app in self._apps.values() if id in app.instances), None)

    def everything(self, form: Form) -> bytes:
        """The document of all applications."""
        self._look()
        if form not in self._all:
            apps = [app.written(form) for app in self._apps.values()]
            self._all[form] = form.applications(self._head(), apps)
        return self._all[form]

    def changes(self, form: Form) -> bytes:
        """The document of what changed lately, with the hash code of all that there is."""
        self._look()
        version = self._recent.version(self.clock())
        before = self._changed.get(form)
        if before is not None and before[0] == version:
            return before[1]
        apps: dict[str, list[bytes]] = {}
        if version[1]:
            for app in self._apps.values():
                rest = [each for each in app.instances.values() if (app.name, each.id) not in self._recent]
                apps[app.name] = [each.written(form, "MODIFIED") for each in rest]
        for change in self._recent:
            apps.setdefault(change.app, []).append(change.shown.written(form, change.action))
        written = self._document(form, apps)
        self._changed[form] = version, written
        return written

    def unwritten(self, form: Form) -> Iterator[Shown]:
        """The instances that are still to be written in that form, for who will not do it all at once."""
        self._look()
        if form not in self._all:
            shown = [each for app in self._apps.values() for each in app.instances.values()]
            yield from (each for each in shown if not each.is_written(form))

    def at_address(self, key: str, address: str, form: Form) -> bytes:
        """The document of the instances with that virtual ``address``, which is one of those under ``key``."""
        self._look()
        apps: dict[str, list[bytes]] = {}
        for app in self._apps.values():
            there = [each for each in app.instances.values() if address in text_of(each.tree.get(key)).split(",")]
            apps[app.name] = [each.written(form) for each in there]
        return self._document(form, apps)

    # How it is found out

    def _look(self) -> None:
        """See what has changed since the last look."""
        index = self.node.index(None)
        if index == self._index:
            return
        groups: dict[str, list[tuple[str, int]]] = {}
        for service in sorted(self.node.services()):
            groups.setdefault(app_of(service), []).append((service, self.node.index(service)))
        before, is_first = self._apps, self._index == -1
        apps = [self._made(name, tuple(groups[name])) for name in sorted(groups)]
        self._apps = {app.name: app for app in apps if app.instances}
        self._index = index
        self._all.clear()
        self._changed.clear()
        self._hash = hash_code(each.status for app in self._apps.values() for each in app.instances.values())
        if is_first:
            self._recent.begin(self.clock())
        else:
            self._compare(before)

    def _made(self, name: str, made_of: tuple[tuple[str, int], ...]) -> App:
        before = self._apps.get(name)
        if before is not None and before.made_of == made_of:
            return before
        known = {} if before is None else before.sources
        sources = {}
        for service, _ in made_of:
            healthy = {(each.owner, each.id) for each in self.node.lookup(service)}
            for instance in self.node.lookup(service, healthy=False):
                key, is_healthy = (service, instance.owner, instance.id), (instance.owner, instance.id) in healthy
                shown = known.get(key)
                if shown is None or not shown.is_of(instance, healthy=is_healthy):
                    shown = Shown.of(instance, healthy=is_healthy)
                sources[key] = shown
        return App(name, made_of, sources)

    def _compare(self, before: Mapping[str, App]) -> None:
        now = self.clock()
        for name in sorted(before.keys() | self._apps.keys()):
            old, new = before.get(name), self._apps.get(name)
            if old is new:
                continue
            was = {} if old is None else old.instances
            there = {} if new is None else new.instances
            for id_, shown in was.items():
                if id_ not in there:
                    self._recent.note(name, "DELETED", shown, now)
            for id_, shown in there.items():
                if id_ not in was:
                    self._recent.note(name, "ADDED", shown, now)
                elif shown is not was[id_] and shown.tree != was[id_].tree:
                    self._recent.note(name, "MODIFIED", shown, now)

    def _document(self, form: Form, apps: Mapping[str, list[bytes]]) -> bytes:
        """The document of these instances of these applications."""
        return form.applications(self._head(), [form.application(name, parts) for name, parts in apps.items() if parts])

    def _head(self) -> Tree:
        return {"versions__delta": str(self._index), "apps__hashcode": self._hash}


def hash_code(statuses: Iterable[str]) -> str:
    """How many instances have each status: ``DOWN_1_UP_2_``. A client whose own differs asks for everything."""
    return "".join([f"{status}_{count}_" for status, count in sorted(Counter(statuses).items())])
