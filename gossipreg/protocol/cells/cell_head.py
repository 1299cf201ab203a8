"""Cell head: what one cell states of itself to others: its size, the fingerprint of its records, and its relays."""

from __future__ import annotations

from gossipreg.model import Address
from gossipreg.values import frozen

#: The partition of what belongs to no cell: policies and terms. No cell can have this name.
COMMON = "*"


@frozen
class CellHead:
    """One cell, as its members state it to another cell, or as a relay passes it on within that other cell.

    ``size`` is 0 from a node that has not joined its cell: it knows the cell's members no better than others do.
    ``confirmed``: within a cell, when a relay of that cell last received all that the cell ``cell`` had to send (ms
    since the epoch, by the relay's clock); 0 if only addresses are known. Across a border, since when the sender hears
    none of its cell, which asks whether the peer does; else 0.
    """

    cell: str
    size: int  # members that are present
    fingerprint: int  # of its members and what they own
    common: int  # of policies and terms
    relays: tuple[Address, ...]  # where to reach the cell
    confirmed: int = 0
