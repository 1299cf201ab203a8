"""What the code of a packet costs: ``python -m tests.bench.packet_proofs`` prints microseconds of CPU."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from gossipreg.signatures import shared_secret
from tests.protocol.identity.signing import Peer, meeting
from tests.protocol.making import packet

_ROUNDS = 20_000


def _each(what: str, act: Callable[[], object], rounds: int = _ROUNDS) -> None:
    began = time.process_time()
    for _ in range(rounds):
        act()
    sys.stdout.write(f"{what:<36} {(time.process_time() - began) / rounds * 1e6:7.1f} us\n")


def main() -> None:
    peer = Peer("b")
    node = meeting(peer)
    own, sender = node.state.own, node.members.get("b")
    assert own is not None
    assert sender is not None
    data = packet(sender) + bytes(800)
    sealed = iter([peer.proofs.seal(data, own) for _ in range(_ROUNDS)])
    proofs, run_id = node.outbox.proofs, node.identity.run_id
    _each("to make the code of a packet", lambda: peer.proofs.seal(data, own))
    _each("to verify it", lambda: proofs.verify(next(sealed), sender, run_id))
    _each("to derive the secret of a pair", lambda: shared_secret(peer.signer.key, own.proof[:32]), 2000)


if __name__ == "__main__":
    main()
