"""Applications: the instances that the node knows, grouped and encoded as Eureka's clients expect them.

Nothing is done before a request. Then only services whose index has risen are read again. The result is kept as bytes,
and what differs from before is recorded for clients that ask for changes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs
import trio

from gossipreg.frontends.eureka.documents import DocumentForm
from gossipreg.frontends.eureka.instance_document import InstanceDocument, app_of
from gossipreg.frontends.eureka.recent_changes import ChangeAction, RecentChanges
from gossipreg.frontends.eureka.trees import Tree
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.time_slices import TimeSlicer

#: What happened to an instance of which application.
_News = tuple[ChangeAction, str, InstanceDocument]


@attrs.define(eq=False, repr=False)
class Application:
    """One application: its instances by id. Replaced, never changed."""

    name: str
    made_of: tuple[tuple[str, int], ...]  # services, each with its index
    sources: Mapping[tuple[str, str, str], InstanceDocument]  # by service, owner and id: also those that are not shown
    instances: Mapping[str, InstanceDocument] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        shown: dict[str, InstanceDocument] = {}
        for each in self.sources.values():
            if not each.ended and (each.id not in shown or each.rank < shown[each.id].rank):
                shown[each.id] = each
        self.instances = shown

    async def written(self, form: DocumentForm, slicer: TimeSlicer) -> bytes:
        """The application as one of several in a document."""
        return b"".join(
            form.format.application(
                self.name, [each.written(form) async for each in slicer.over(self.instances.values())]
            )
        )


@attrs.define(eq=False, repr=False)
class ApplicationCache:
    """All applications of a node. ``clock`` gives seconds that never go back."""

    node: NodeApi
    clock: Callable[[], float]
    _index: int = attrs.field(init=False, default=-1)
    _apps: dict[str, Application] = attrs.field(init=False, factory=dict)
    _hash: str = attrs.field(init=False, default="")
    _recent: RecentChanges = attrs.field(init=False, factory=RecentChanges)
    _all: dict[DocumentForm, bytes] = attrs.field(init=False, factory=dict)
    _changed: dict[DocumentForm, tuple[tuple[int, bool], bytes]] = attrs.field(init=False, factory=dict)

    _turn: trio.Lock = attrs.field(init=False, factory=trio.Lock)  # an answer is of one moment, and made once

    # What is asked for

    async def app(self, name: str) -> Application | None:
        """One application."""
        async with self._turn:
            await self._look(TimeSlicer())
            return self._apps.get(name)

    async def instance(self, id: str) -> InstanceDocument | None:
        """The first instance of that id, in the order of the applications' names."""
        async with self._turn:
            await self._look(TimeSlicer())
            return next((app.instances[id] for app in self._apps.values() if id in app.instances), None)

    async def everything(self, form: DocumentForm) -> bytes:
        """The document of all applications."""
        async with self._turn:
            slicer = TimeSlicer()
            await self._look(slicer)
            if form not in self._all:
                every = ((app.name, each) for app in self._apps.values() for each in app.instances.values())
                apps: dict[str, list[bytes]] = {}
                async for name, each in slicer.over(every):
                    apps.setdefault(name, []).append(each.written(form))
                self._all[form] = self._document(form, apps)
            return self._all[form]

    async def changes(self, form: DocumentForm) -> bytes:
        """The document of what changed lately, with the hash code of all that there is."""
        async with self._turn:
            slicer = TimeSlicer()
            await self._look(slicer)
            version = self._recent.version(self.clock())
            before = self._changed.get(form)
            if before is not None and before[0] == version:
                return before[1]
            is_torn = version[1]
            apps: dict[str, list[bytes]] = {name: [] for name in self._apps} if is_torn else {}
            async for name, part in slicer.over(self._parts(form, is_torn=is_torn)):
                apps.setdefault(name, []).append(part)
            written = self._document(form, apps)
            self._changed[form] = version, written
            return written

    def _parts(self, form: DocumentForm, *, is_torn: bool) -> Iterator[tuple[str, bytes]]:
        """The changes, each encoded, with the name of its application; everything, if the list of changes is torn."""
        if is_torn:
            for app in self._apps.values():
                for each in app.instances.values():
                    if (app.name, each.id) not in self._recent:
                        yield app.name, each.written(form, "MODIFIED")
        for change in self._recent:
            yield change.app, change.shown.written(form, change.action)

    async def at_address(self, address: str, form: DocumentForm, *, secure: bool) -> bytes:
        """The document of the instances with that virtual ``address``, or that ``secure`` one, and their hash code."""
        async with self._turn:
            slicer = TimeSlicer()
            await self._look(slicer)
            apps: dict[str, list[bytes]] = {}
            statuses: list[str] = []
            every = ((app.name, each) for app in self._apps.values() for each in app.instances.values())
            async for name, each in slicer.over(every):
                said = each.info.secure_vip if secure else each.info.vip
                if said is not None and address in said.split(","):
                    apps.setdefault(name, []).append(each.written(form))
                    statuses.append(each.status)
            return self._document(form, apps, hash_code(statuses))

    # How it is found out

    async def _look(self, slicer: TimeSlicer) -> None:
        """See what has changed since the last look, in slices. To be called in turn."""
        index = self.node.index(None)
        if index == self._index:
            return
        groups: dict[str, list[tuple[str, int]]] = {}
        for service in sorted(self.node.services()):
            groups.setdefault(app_of(service), []).append((service, self.node.index(service)))
        is_first = self._index == -1
        apps: dict[str, Application] = {}
        news: list[_News] = []
        async for _ in slicer.over(self._seen(groups, apps, news)):
            pass
        # No other task runs from here on: what is kept is of one moment.
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
        self, groups: Mapping[str, list[tuple[str, int]]], apps: dict[str, Application], news: list[_News]
    ) -> Iterator[None]:
        """Put what there is into ``apps`` and what is new of it into ``news``, one small step after the other."""
        for name in sorted(self._apps.keys() | groups.keys()):
            made_of, before = tuple(groups.get(name, ())), self._apps.get(name, Application(name, (), {}))
            if made_of and before.made_of == made_of:
                apps[name] = before
                yield
                continue
            sources: dict[tuple[str, str, str], InstanceDocument] = {}
            for service, _ in made_of:
                yield from self._sources(service, before.sources, sources)
            app = Application(name, made_of, sources)
            yield
            if app.instances:
                apps[name] = app
            yield from _compared(name, before.instances, app.instances, news)

    def _sources(
        self,
        service: str,
        known: Mapping[tuple[str, str, str], InstanceDocument],
        into: dict[tuple[str, str, str], InstanceDocument],
    ) -> Iterator[None]:
        yield from self.node.decode(service)
        able, every = self.node.lookup(service), self.node.lookup(service, healthy=False)
        healthy = {(each.owner, each.id) for each in able}
        yield
        for instance in every:
            key, is_healthy = (service, instance.owner, instance.id), (instance.owner, instance.id) in healthy
            shown = known.get(key)
            if shown is None or not shown.is_of(instance, healthy=is_healthy):
                shown = InstanceDocument.of(instance, healthy=is_healthy)
            into[key] = shown
            yield

    def _document(self, form: DocumentForm, apps: Mapping[str, list[bytes]], counts: str | None = None) -> bytes:
        """The document of these instances of these applications, with the hash code of all unless another is given."""
        head: Tree = {"versions__delta": str(self._index), "apps__hashcode": self._hash if counts is None else counts}
        parts = (form.format.application(name, instances) for name, instances in apps.items() if instances)
        return form.format.applications(head, parts)


def _compared(
    name: str, was: Mapping[str, InstanceDocument], there: Mapping[str, InstanceDocument], news: list[_News]
) -> Iterator[None]:
    """Note what is new of an application, one small step after the other."""
    for id_, shown in was.items():
        if id_ not in there:
            news.append(("DELETED", name, shown))
        yield
    for id_, shown in there.items():
        if id_ not in was:
            news.append(("ADDED", name, shown))
        elif shown is not was[id_] and shown.info != was[id_].info:
            news.append(("MODIFIED", name, shown))
        yield


def hash_code(statuses: Iterable[str]) -> str:
    """How many instances have each status: ``DOWN_1_UP_2_``. A client whose own differs asks for everything."""
    return "".join([f"{status}_{count}_" for status, count in sorted(Counter(statuses).items())])
