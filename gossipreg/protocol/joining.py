"""Knows how this node gets to others that it hears nothing of: by its seeds, and by who failed.

Theory of operation (docs/decisions/0017). A newcomer is told everything that its seed knows, so one seed should tell
it, and no more; but any of them may be gone. So a few are *greeted* at once, each over a stream of its own. The first
that answers is compared with. Those that answer later wait, and have their turn when that talk has ended or says
nothing more from one try to the next; whoever turns out to be a known member by then is let go instead. With one who
is like us a comparison costs 2 KiB, so it does no harm that several have their turn; only the first one is dear.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs

from gossipreg.model import Address
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.exchange import Exchange
from gossipreg.protocol.membership.identity import Identity
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import SeekSeeds
from gossipreg.protocol.standing import Standing
from gossipreg.protocol.talks import Purpose
from gossipreg.protocol.wire.messages import pack

#: Seeds greeted at once while nobody was reached.
_SEEDS_AT_ONCE = 4


@attrs.define(eq=False, repr=False)
class Joining:
    """The tries of one node to reach others, and when the next one is due (seconds)."""

    settings: EngineSettings
    rng: Random
    identity: Identity
    members: Members
    standing: Standing
    exchange: Exchange
    outbox: Outbox
    has_seeds: bool
    deadline: float
    _wait: float
    _heard: int = 0  # frames that came in comparisons with seeds, at the last try

    @property
    def _is_alone(self) -> bool:
        return not self.members.present or not self.identity.settled

    @property
    def is_urgent(self) -> bool:
        """Whether somebody is missed, so that a try must not wait."""
        return self._is_alone or self.members.has_failed

    def wake(self, now: float) -> None:
        """Try to reach one failed member and the seeds, if it is time: that is how a split heals by itself."""
        if now < self.deadline:
            return
        alone = self._is_alone
        wait = self._wait if alone and self.has_seeds else self.settings.reconnect_interval
        self.deadline = now + wait * (0.75 + self.rng.random() / 2)
        self._wait = min(self.settings.join_retry_max, 2 * self._wait) if alone else self.settings.join_retry
        failed = self.members.failed()
        if failed:
            lost = failed[self.rng.randrange(len(failed))]
            ping = Ping(0, lost.life, self.exchange.knowledge.fingerprint.total)
            self.outbox.send(lost.address, pack(lost), pack(ping), now=now)
        if self.has_seeds:
            self.outbox.put(SeekSeeds())

    def try_seeds(self, addresses: Sequence[Address], now: float) -> None:
        """Try the seeds at ``addresses``: a few while nobody was reached, else one that is not among the present."""
        present = self.members.present_addresses() if self.identity.settled else {}
        tried = [a for a in dict.fromkeys(addresses) if a != self.identity.address and a not in present]
        if addresses and not tried and not self.identity.settled and self.identity.contested is None:
            self.standing.settle(now)  # we are our own only seed
        if not self._is_being_told():
            self.rng.shuffle(tried)
            self._try(tried[: 1 if present else _SEEDS_AT_ONCE], now)

    def _is_being_told(self) -> bool:
        """Whether a seed that is compared with has said something since the last try; if not, the next has its turn."""
        heard, self._heard = self._heard, sum(talk.frames for _, talk in self.exchange.talks.of(Purpose.JOIN))
        if self._heard <= heard:
            self._compare_with_next()
        return self._heard > heard

    def _try(self, seeds: Sequence[Address], now: float) -> None:
        talks = self.exchange.talks
        if len(seeds) == 1 and not talks.is_open(Purpose.GREET):
            if not talks.is_open(Purpose.JOIN, seeds[0]):
                self.exchange.open_comparison(Purpose.JOIN, seeds[0], now)
            return
        for seed in seeds:
            if not talks.is_open(Purpose.GREET, seed) and not talks.is_open(Purpose.JOIN, seed):
                ping = Ping(0, 0, self.exchange.knowledge.fingerprint.total)
                self.exchange.open(Purpose.GREET, seed, [self.outbox.clock(now), ping])

    def hurry(self, now: float) -> None:
        """Try at once: what stood in the way may have changed."""
        if self._is_alone:
            self.deadline = min(self.deadline, now)

    def go_on(self) -> None:
        """A seed has answered, or the talk with one has ended: compare with the next, unless one is compared with."""
        if not self.exchange.talks.is_open(Purpose.JOIN):
            self._compare_with_next()

    def _compare_with_next(self) -> None:
        """Compare with a seed that was greeted and has answered; let those go that are known to be present."""
        present = self.members.present_addresses() if self.identity.settled else {}
        answered = [(stream, talk) for stream, talk in self.exchange.talks.of(Purpose.GREET) if talk.answered]
        strangers = [(stream, talk) for stream, talk in answered if talk.to not in present]
        for stream, talk in strangers[:1]:
            talk.purpose = Purpose.JOIN
            self.exchange.compare(stream)
        for stream, talk in answered:
            if talk.to in present:
                self.exchange.close(stream)
