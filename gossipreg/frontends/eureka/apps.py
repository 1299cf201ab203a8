"""Knows the applications that Eureka's clients see: what the node sees, grouped their way, and written down once.

Nothing is done until somebody asks. Then only the services whose index has risen are looked at again; what that comes
to is kept as bytes, and what is different from before is noted for those who ask for changes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs
import trio

from gossipreg.frontends.eureka.recent import Action, Recent
from gossipreg.frontends.eureka.shown import Shown, app_of
from gossipreg.frontends.eureka.trees import Form, Tree, text_of
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.slices import Pace

#: What happened to an instance of which application.
_News = tuple[Action, str, Shown]


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

    async def written(self, form: Form, pace: Pace) -> bytes:
        """The application as one of several in a document."""
        return b"".join(
            form.application(self.name, [each.written(form) async for each in pace.over(self.instances.values())])
        )


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

    _turn: trio.Lock = attrs.field(init=False, factory=trio.Lock)  # an answer is of one moment, and made once

    # What is asked for

    async def app(self, name: str) -> App | None:
        """One application."""
        async with self._turn:
            await self._look(Pace())
            return self._apps.get(name)

    async def instance(self, id: str) -> Shown | None:
        """The first instance of that id, in the order of the applications' names."""
        async with self._turn:
            await self._look(Pace())
            return next((app.instances[id] for app in self._apps.values() if id in app.instances), None)

    async def everything(self, form: Form) -> bytes:
        """The document of all applications."""
        async with self._turn:
            pace = Pace()
            await self._look(pace)
            if form not in self._all:
                every = ((app.name, each) for app in self._apps.values() for each in app.instances.values())
                apps: dict[str, list[bytes]] = {}
                async for name, each in pace.over(every):
                    apps.setdefault(name, []).append(each.written(form))
                self._all[form] = self._document(form, apps)
            return self._all[form]

    async def changes(self, form: Form) -> bytes:
        """The document of what changed lately, with the hash code of all that there is."""
        async with self._turn:
            pace = Pace()
            await self._look(pace)
            version = self._recent.version(self.clock())
            before = self._changed.get(form)
            if before is not None and before[0] == version:
                return before[1]
            is_torn = version[1]
            apps: dict[str, list[bytes]] = {name: [] for name in self._apps} if is_torn else {}
            async for name, part in pace.over(self._parts(form, is_torn=is_torn)):
                apps.setdefault(name, []).append(part)
            written = self._document(form, apps)
            self._changed[form] = version, written
            return written

    def _parts(self, form: Form, *, is_torn: bool) -> Iterator[tuple[str, bytes]]:
        """What is told to have changed, each written with the name of its application: everything, if that is torn."""
        if is_torn:
            for app in self._apps.values():
                for each in app.instances.values():
                    if (app.name, each.id) not in self._recent:
                        yield app.name, each.written(form, "MODIFIED")
        for change in self._recent:
            yield change.app, change.shown.written(form, change.action)

    async def at_address(self, key: str, address: str, form: Form) -> bytes:
        """The document of the instances with that virtual ``address``, which is one of those under ``key``."""
        async with self._turn:
            pace = Pace()
            await self._look(pace)
            apps: dict[str, list[bytes]] = {}
            every = ((app.name, each) for app in self._apps.values() for each in app.instances.values())
            async for name, each in pace.over(every):
                if address in text_of(each.tree.get(key)).split(","):
                    apps.setdefault(name, []).append(each.written(form))
            return self._document(form, apps)

    # How it is found out

    async def _look(self, pace: Pace) -> None:
        """See what has changed since the last look, in slices. To be called in turn."""
        index = self.node.index(None)
        if index == self._index:
            return
        groups: dict[str, list[tuple[str, int]]] = {}
        for service in sorted(self.node.services()):
            groups.setdefault(app_of(service), []).append((service, self.node.index(service)))
        is_first = self._index == -1
        apps: dict[str, App] = {}
        news: list[_News] = []
        async for _ in pace.over(self._seen(groups, apps, news)):
            pass
        # From here on nobody else has a turn: what is kept is of one moment.
        self._apps = apps
        self._index = index
        self._all.clear()
        self._changed.clear()
        self._hash = hash_code(each.status for app in self._apps.values() for each in app.instances.values())
        now = self.clock()
        if is_first:
            self._recent.begin(now)
        else:
            for action, name, shown in news:
                self._recent.note(name, action, shown, now)

    def _seen(
        self, groups: Mapping[str, list[tuple[str, int]]], apps: dict[str, App], news: list[_News]
    ) -> Iterator[None]:
        """Put what there is into ``apps`` and what is new of it into ``news``, one small step after the other."""
        for name in sorted(self._apps.keys() | groups.keys()):
            made_of, before = tuple(groups.get(name, ())), self._apps.get(name, App(name, (), {}))
            if made_of and before.made_of == made_of:
                apps[name] = before
                yield
                continue
            sources: dict[tuple[str, str, str], Shown] = {}
            for service, _ in made_of:
                yield from self._sources(service, before.sources, sources)
            app = App(name, made_of, sources)
            yield
            if app.instances:
                apps[name] = app
            yield from _compared(name, before.instances, app.instances, news)

    def _sources(
        self, service: str, known: Mapping[tuple[str, str, str], Shown], into: dict[tuple[str, str, str], Shown]
    ) -> Iterator[None]:
        able, every = self.node.lookup(service), self.node.lookup(service, healthy=False)
        healthy = {(each.owner, each.id) for each in able}
        yield
        for instance in every:
            key, is_healthy = (service, instance.owner, instance.id), (instance.owner, instance.id) in healthy
            shown = known.get(key)
            if shown is None or not shown.is_of(instance, healthy=is_healthy):
                shown = Shown.of(instance, healthy=is_healthy)
            into[key] = shown
            yield

    def _document(self, form: Form, apps: Mapping[str, list[bytes]]) -> bytes:
        """The document of these instances of these applications."""
        return form.applications(self._head(), (form.application(name, parts) for name, parts in apps.items() if parts))

    def _head(self) -> Tree:
        return {"versions__delta": str(self._index), "apps__hashcode": self._hash}


def _compared(name: str, was: Mapping[str, Shown], there: Mapping[str, Shown], news: list[_News]) -> Iterator[None]:
    """Note what is new of an application, one small step after the other."""
    for id_, shown in was.items():
        if id_ not in there:
            news.append(("DELETED", name, shown))
        yield
    for id_, shown in there.items():
        if id_ not in was:
            news.append(("ADDED", name, shown))
        elif shown is not was[id_] and shown.tree != was[id_].tree:
            news.append(("MODIFIED", name, shown))
        yield


def hash_code(statuses: Iterable[str]) -> str:
    """How many instances have each status: ``DOWN_1_UP_2_``. A client whose own differs asks for everything."""
    return "".join([f"{status}_{count}_" for status, count in sorted(Counter(statuses).items())])
