"""Oracle 15: after the heal all nodes agree within a computed bound (`gossipreg_sim.heal_bound`)."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg_sim.oracles.oracle import Oracle


@attrs.define
class Healing(Oracle):
    """All live nodes of the core agree: equal fingerprints, every live offer healthy on all, no phantoms."""

    law: ClassVar[str] = "all nodes agree within the bound after each fault and after the heal"

    def finish(self) -> None:
        """Compare the time to agreement with its bound, after each fault phase and after the heal."""
        for heal in self.context.heals[:-1]:
            self.checks += heal.took is not None or not heal.in_time
            if not heal.in_time:
                after = f"after {', '.join(heal.ended)}"
                said = "not all agree" if heal.took is None else f"all agree only {heal.took:.2f} s"
                self.wrong("", f"{said} {after}; bound {heal.bound:.2f} s")
        healed_in, bound = self.context.healed_in, self.context.bound
        self.checks += 1
        if healed_in is None:
            self.wrong("", f"not all agree; bound {bound:.2f} s")
        else:
            self.note = f"measured {healed_in:.2f} s, bound {bound:.2f} s"
            if healed_in > bound:
                self.wrong("", f"all agree only {healed_in:.2f} s after the heal; bound {bound:.2f} s")
