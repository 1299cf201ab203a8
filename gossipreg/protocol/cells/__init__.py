"""Pure: cells, the membership rings of one region, and the relays that connect them (docs/decisions/0089)."""
