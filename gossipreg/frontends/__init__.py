"""Frontends answer programs outside the process: each translates between the node and a protocol; none decides."""

from __future__ import annotations

import logging

# As a library should: a program that has configured no logging gets no output. The `gossipreg` command configures it.
logging.getLogger("gossipreg").addHandler(logging.NullHandler())
