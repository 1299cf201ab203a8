"""Knows how what peers say of instances, policies and terms is weighed: taken, fetched, or answered that it is gone."""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.protocol.exchange import Exchange
from gossipreg.protocol.knowledge import Knowledge
from gossipreg.protocol.outputs import PoliciesChanged, PolicyFromFuture
from gossipreg.protocol.registry.policies import Word
from gossipreg.protocol.registry.records import Announcement, Head, Record
from gossipreg.protocol.registry.table import Verdict
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.spreading.dissemination import Topic
from gossipreg.protocol.standing import Standing
from gossipreg.protocol.voice import Voice


@attrs.define(eq=False, repr=False)
class Intake:
    """What this node makes of what is said about instances."""

    standing: Standing
    knowledge: Knowledge
    exchange: Exchange

    def hear(self, said: Record | Head | Announcement, voice: Voice, now: float) -> None:
        """A peer sends a record, says where to fetch one, or speaks of an owner's whole table."""
        if isinstance(said, Announcement):
            self._hear_announcement(said, voice, now)
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
            spread = voice.is_worth_telling(settled=identity.settled)
            if self.knowledge.take(record, now, spread=spread, heard_from=voice.name):
                self.exchange.talks.got((record.owner, record.id))
        elif verdict is Verdict.DEAD and voice.in_talk:
            if record.owner != identity.name or identity.settled:  # else it may be a namesake's, and alive
                voice.stale.setdefault(record.owner, []).append(record.id)
        elif verdict is Verdict.KNOWN and not voice.in_talk:
            self._heard_again(record, now)
        elif verdict is Verdict.FULL:
            self.knowledge.counters[Count.RECORDS_OVER_OWNER_LIMIT] += 1

    def _heard_again(self, said: Record | Announcement, now: float) -> None:
        table = self.knowledge.registry.table(said.owner)
        held = None if table is None else table.get(said.id)
        if held is not None and held.version == said.version:
            self.knowledge.heard_again(Topic.INSTANCES, (said.owner, said.id), now)

    def hear_word(self, word: Word, voice: Voice, now: float) -> None:
        """A peer says what is to be done about a service."""
        if self.knowledge.policies.outranks(word):
            spread = voice.is_worth_telling(settled=self.standing.identity.settled)
            keys = self.knowledge.hear_word(word, now, spread=spread, heard_from=voice.name)
            if keys is None:
                ahead = word.ms / 1000 - self.knowledge.clock.wall(now) / 1000
                self.exchange.outbox.put(PolicyFromFuture(word.key, word.writer, ahead, restamped=False))
            elif keys:
                self.exchange.outbox.put(PoliciesChanged(keys))
        elif not voice.in_talk and word == self.knowledge.policies.get(word.key):
            self.knowledge.heard_again(Topic.POLICIES, word.key, now)

    def hear_register(self, said: TermRegister, voice: Voice, now: float) -> None:
        """A peer says which terms of a service there were."""
        if said == self.knowledge.terms.get(said.service):
            if not voice.in_talk:
                self.knowledge.heard_again(Topic.TERMS, said.service, now)
        else:
            spread = voice.is_worth_telling(settled=self.standing.identity.settled)
            if self.knowledge.hear_register(said, now, spread=spread) is None:
                ahead = said.ms / 1000 - self.knowledge.clock.wall(now) / 1000
                self.exchange.outbox.put(PolicyFromFuture(f"role {said.service}", said.writer, ahead, restamped=False))

    def _hear_announcement(self, said: Announcement, voice: Voice, now: float) -> None:
        if said.size > limits.RECORD_BYTES_MAX or voice.member is None:
            return
        verdict = self.knowledge.judge(said.owner, said.generation, said.id, said.version)
        if verdict is Verdict.KNOWN:
            self._heard_again(said, now)
        if verdict is Verdict.NEWS and self.knowledge.registry.is_full(said.size):
            self.knowledge.counters[Count.RECORDS_OVER_TOTAL_LIMIT] += 1
        elif verdict is Verdict.NEWS:
            key = (said.owner, said.id)
            if self.exchange.talks.want(key, said.generation, said.version, voice.member.address):
                self.exchange.fetch(key)
