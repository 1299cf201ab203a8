"""Native requests: what a handler of the native API is given, and the route that leads to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gossipreg.frontends.http.change_history import ChangeHistory
from gossipreg.frontends.http.event_encoder import EventEncoder
from gossipreg.frontends.http.exports import Exports
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.http.observations import ObservationCache
from gossipreg.frontends.http.rates import RateHistory
from gossipreg.frontends.serving.context import RequestContext
from gossipreg.frontends.serving.request import QueryParameters
from gossipreg.frontends.serving.response import HttpError, Reply
from gossipreg.frontends.serving.scopes import Action
from gossipreg.text import shown
from gossipreg.values import frozen

_YES_OR_NO = {"": True, "true": True, "1": True, "false": False, "0": False}

#: The media type of a body that has a JSON document on each line.


@frozen
class NativeContext(RequestContext):
    """One request to one handler, with what all share: cached lookups, encoded events, the latest changes and rates."""

    lookups: LookupCache
    event_encoder: EventEncoder
    history: ChangeHistory
    rates: RateHistory
    exports: Exports
    observations: ObservationCache

    @property
    def argument(self) -> str:
        """The value of the path's placeholder; empty if it has none."""
        return next(iter(self.arguments.values()), "")

    def flag(self, name: str) -> bool:
        """A yes-or-no of the query; its bare name is a yes. Raises a 400 ``HttpError`` for anything else."""
        text = self.query.first(name, "false")
        try:
            return _YES_OR_NO[text]
        except KeyError:
            raise HttpError(400, f"{name}: {shown(text)} is neither true, false, 1 nor 0") from None

    def share(self, name: str) -> float:
        """A share of the query, from 0 to 1; 0 if it is not there. Raises a 400 ``HttpError`` for anything else."""
        text = self.query.first(name, "0")
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not 0 <= share <= 1:
            raise HttpError(400, f"{name}: {shown(text)} is not a share from 0 to 1")
        return share

    def other_region(self) -> str | None:
        """The region of the query, if it is not the node's own. Raises a 400 ``HttpError`` for an empty one."""
        region = self.text("region")
        return None if region == self.node.region else region

    def failover(self) -> tuple[str, ...]:
        """The regions of the query to fail over to, in order. Raises a 400 ``HttpError`` for an empty one."""
        text = self.text("failover")
        regions = () if text is None else tuple(text.split(","))
        if not all(regions):
            raise HttpError(400, f"failover: {shown(text)} is not a list of regions with commas between")
        self.share("failover_threshold")  # refused where it is none, also where nothing can fail over
        return regions

    def text(self, name: str) -> str | None:
        """A text of the query, if it is there. Raises a 400 ``HttpError`` if it is there but empty."""
        text = self.query.get(name)
        if text == "":
            raise HttpError(400, f"{name}: is empty: write {name}=VALUE, or leave it out")
        return text


@frozen
class Route:
    """One thing to do at one path. A last segment in capitals stands for any text: it is the handler's argument."""

    method: str
    path: str
    handler: Callable[[NativeContext], Awaitable[Reply]]
    action: Action
    query: tuple[str, ...] = ()

    @property
    def takes_argument(self) -> bool:
        """Whether the path ends in a placeholder."""
        return self.path.rpartition("/")[2].isupper()

    def check_query(self, query: QueryParameters) -> None:
        """Raise a 400 ``HttpError`` for a parameter that this route does not know."""
        for name, _ in query.pairs:
            if name not in self.query:
                known = f"it knows {', '.join(self.query)}" if self.query else "it knows none"
                raise HttpError(400, f"{self.path} has no query parameter {shown(name)}: {known}")
