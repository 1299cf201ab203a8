"""Mutations: planted mistakes in the protocol, one at a time, that the simulator's oracles must catch.

Each is a plausible mistake: a comparison off by its equals sign, a missing case, a number that is not raised.
"""

from __future__ import annotations

from tests.sim.mutations import cells, dissemination, identity, joining, membership, policies, primaries, records
from tests.sim.mutations.mutation import MUTATIONS, Mutation

__all__ = [
    "MUTATIONS",
    "Mutation",
    "cells",
    "dissemination",
    "identity",
    "joining",
    "membership",
    "policies",
    "primaries",
    "records",
]
