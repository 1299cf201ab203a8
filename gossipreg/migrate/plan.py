"""Plans: what has to be done so that one registry holds copies of what another holds. Pure.

A copy is never copied, wherever it is from, so nothing can go in a circle; and where an original is registered at the
target itself, by its id or at its address, it has moved there and its copy gives way.
"""

from __future__ import annotations

from collections.abc import Iterable

from gossipreg.migrate.registry import ListedInstance
from gossipreg.values import frozen


@frozen
class Plan:
    """What is to be done at the target."""

    write: tuple[ListedInstance, ...]  # originals without a copy, or with an old one
    keep: tuple[ListedInstance, ...]  # originals whose copies are up to date: to be renewed
    remove: tuple[ListedInstance, ...]  # copies without an original, or whose original has moved
    moved: tuple[ListedInstance, ...]  # originals that are registered at the target themselves
    foreign: tuple[ListedInstance, ...]  # originals whose id has a copy of another side's there


def plan(source: Iterable[ListedInstance], target: Iterable[ListedInstance], origin: str) -> Plan:
    """The plan to copy ``source``, whose name is ``origin``, into ``target``."""
    there = list(target)
    own = {each.key: each for each in there if each.origin == origin}
    natives = [each for each in there if not each.origin]
    taken = {each.key for each in natives}, {each.place for each in natives}
    foreign_keys = {each.key for each in there if each.origin and each.origin != origin}
    write: list[ListedInstance] = []
    keep: list[ListedInstance] = []
    moved: list[ListedInstance] = []
    foreign: list[ListedInstance] = []
    for each in source:
        if each.origin:
            continue
        copy = own.get(each.key)
        if each.key in taken[0] or each.place in taken[1]:
            moved.append(each)
        elif copy is None and each.key in foreign_keys:
            foreign.append(each)
        elif copy is None or copy.copied_digest != each.digest:
            write.append(each)
        else:
            keep.append(each)
    wanted = {each.key for each in (*write, *keep)}
    remove = tuple(each for each in there if each.origin == origin and each.key not in wanted)
    return Plan(tuple(write), tuple(keep), remove, tuple(moved), tuple(foreign))
