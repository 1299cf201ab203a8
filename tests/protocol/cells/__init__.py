"""Cells: rings of one region, and what crosses between them."""
