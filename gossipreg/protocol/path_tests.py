"""Path tests: sends the tests of paths that are due, and reports which of packets and streams pass."""

from __future__ import annotations

import attrs

from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.outbox import Outbox
from gossipreg.protocol.outputs import PathChanged
from gossipreg.protocol.peer_streams import PeerStreams
from gossipreg.protocol.state import ClusterState
from gossipreg.protocol.stream_sessions import Purpose
from gossipreg.protocol.wire.messages import SENDER_BYTES, pack, pack_padded


@attrs.define(eq=False, repr=False)
class PathTests:
    """The messages that test the paths of `PathMonitor`."""

    state: ClusterState
    streams: PeerStreams
    outbox: Outbox

    def handle_timeout(self, now: float) -> None:
        """Send the tests that are due: a ping by packet, padded if it tests a size, or over a stream."""
        for test in self.outbox.paths.handle_timeout(now):
            member = self.state.members.by_run_id(test.run_id)
            if member is None:
                continue
            ping = Ping(test.seq, member.run_id, self.state.fingerprint.total)
            if test.over_stream:
                self.streams.open(Purpose.PROBE, member.destination, [ping, End()], about=test.seq)
            elif test.size:
                self.outbox.send(
                    member.destination, pack_padded(ping, test.size - SENDER_BYTES - self.outbox.proofs.overhead)
                )
            else:
                self.outbox.send(member.destination, pack(ping))

    def report(self) -> None:
        """Report the paths that have changed, and fit further packets to them."""
        changes = self.outbox.paths.changed()
        if changes:
            self.outbox.fit_paths()
        for change in changes:
            member = self.state.members.by_run_id(change.run_id)
            if member is not None:
                self.outbox.put(PathChanged(member.name, change.passes, change.size, change.hears))

    def sweep(self, now: float) -> None:
        """Forget the paths to members that are gone."""
        self.outbox.paths.sweep(self._is_present, now)

    def _is_present(self, run_id: int) -> bool:
        member = self.state.members.by_run_id(run_id)
        return member is not None and member.status.is_present
