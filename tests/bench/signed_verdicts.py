"""How soon a failure is known, without identity and with it: ``python -m tests.bench.signed_verdicts`` (simulated)."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

from gossipreg.model import Status
from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.world import ns
from tests.sim.making import run_for
from tests.sim.test_identity import lose, signed_cluster

_SEEDS = range(5)
_NODES = 32


def _times(mode: IdentityMode, seed: int, loss: float, kill: Callable[[Cluster], None]) -> tuple[float, float, float]:
    """After a death, in seconds: the first node deprioritizes it, the first and the last node holds it failed."""
    made = signed_cluster(_NODES, lambda _: mode, seed)
    if loss:
        lose(made, loss)
        run_for(made, 2.0)
    began = made.world.seconds
    kill(made)
    others = [each for each in made.alive if each.name != "n7"]
    routed = first = 0.0
    while made.world.seconds - began < 60.0:
        made.world.run(made.world.now + ns(0.01))
        held = [each.engine.members.get("n7") for each in others]
        count = sum(1 for each in held if each is not None and each.status is Status.FAILED)
        now = made.world.seconds - began
        routed = routed or (now if any("n7" in each.engine.state._deprioritized for each in others) or count else 0.0)
        first = first or (now if count else 0.0)
        if count == len(others):
            return routed, first, now
    raise AssertionError(f"not failed everywhere: seed {seed}, {mode}")


def main() -> None:
    """Print medians over the seeds."""
    kinds: dict[str, Callable[[Cluster], None]] = {
        "killed process": lambda made: made.crash("n7"),
        "silent host": lambda made: made.crash("n7", host=True),
    }
    sys.stdout.write(f"{'death':<16}{'loss':>6}  {'identity':<10}{'routed around':>14}{'first':>9}{'last':>9}\n")
    for kind, kill in kinds.items():
        for loss in (0.0, 0.1):
            for mode in (IdentityMode.OFF, IdentityMode.REQUIRE):
                runs = [_times(mode, seed, loss, kill) for seed in _SEEDS]
                routed, first, last = (statistics.median(column) for column in zip(*runs, strict=True))
                said = f"{kind:<16}{loss:>6.0%}  {mode.value:<10}{routed:>13.2f}s{first:>8.2f}s{last:>8.2f}s\n"
                sys.stdout.write(said)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
