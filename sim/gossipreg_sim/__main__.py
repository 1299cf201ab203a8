"""The command `python -m gossipreg_sim`, which is `gossipreg sim`."""

from __future__ import annotations

import sys

from gossipreg.cli import main

main(["sim", *sys.argv[1:]])
