"""Knows how records that peers send are weighed: taken, fetched, or answered with the word that they are no more."""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.protocol.exchange import Exchange
from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.registry.records import Announcement, Head, Record
from gossipreg.protocol.registry.table import Verdict
from gossipreg.protocol.standing import Standing
from gossipreg.protocol.voice import Voice


@attrs.define
class Intake:
    """What this node makes of what is said about instances."""

    standing: Standing
    knowledge: Knowledge
    exchange: Exchange

    def hear(self, said: Record | Head | Announcement, voice: Voice, now: float) -> None:
        """A peer sends a record, says where to fetch one, or speaks of an owner's whole table."""
        if isinstance(said, Announcement):
            self._hear_announcement(said, voice)
        elif self.standing.hear_of_shared_generation(said, now):
            pass
        elif isinstance(said, Head):
            self.knowledge.learn(said, now)
        else:
            self._hear_record(said, voice, now)

    def _hear_record(self, record: Record, voice: Voice, now: float) -> None:
        identity = self.standing.identity
        verdict = self.knowledge.judge(record.owner, record.generation, record.id, record.version)
        if verdict is Verdict.NEWS:
            if self.knowledge.take(record, now, spread=voice.is_worth_telling(settled=identity.settled)):
                self.exchange.talks.got((record.owner, record.id))
        elif verdict is Verdict.DEAD and voice.in_talk:
            if record.owner != identity.name or identity.settled:  # else it may be a namesake's, and alive
                voice.stale.setdefault(record.owner, []).append(record.id)
        elif verdict is Verdict.FULL:
            self.knowledge.counters["records_over_owner_limit"] += 1

    def _hear_announcement(self, said: Announcement, voice: Voice) -> None:
        if said.size > limits.RECORD_BYTES_MAX or voice.member is None:
            return
        if self.knowledge.judge(said.owner, said.generation, said.id, said.version) is Verdict.NEWS:
            key = (said.owner, said.id)
            if self.exchange.talks.want(key, said.generation, said.version, voice.member.address):
                self.exchange.fetch(key)
