"""Frontends answer programs outside the process: each translates between the node and a protocol; none decides."""
