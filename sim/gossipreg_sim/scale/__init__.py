"""Scale measurements: cost and speed as a function of the number of nodes, on a virtual clock (docs/scale.md)."""
