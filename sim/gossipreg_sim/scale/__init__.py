"""Pure: how cost and speed grow with the number of nodes, measured on a virtual clock (docs/scale.md)."""
