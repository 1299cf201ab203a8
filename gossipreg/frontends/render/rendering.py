"""Rendering: when a file is replaced, and which losses are believed of an agent that may not know everything yet."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from gossipreg.errors import GossipregError
from gossipreg.frontends.render.command import Command
from gossipreg.frontends.render.output import replace
from gossipreg.frontends.render.template import Template
from gossipreg.frontends.render.template_data import Fetch, Instances, Key, TemplateData
from gossipreg.values import frozen

log = logging.getLogger("gossipreg.render")

#: How long an agent that has just been started may take to learn what others offer (seconds): so long, what it does
#: not know is not believed to be gone. The balancer waits as long.
SETTLE_SECONDS: Final = 10.0

#: Time between two updates where no event announces a change, or one was held back (seconds).
LOOK_SECONDS: Final = 1.0


class UpdateHeldBack(GossipregError):
    """A service would be empty, and the agent may only not have learnt of its instances yet."""


@attrs.define(eq=False, repr=False)
class AgentRun:
    """One run of the agent: how long it has been up, and which instances it has ever given."""

    _monotonic: Callable[[], float] = time.monotonic
    _wall: Callable[[], float] = time.time
    shown: defaultdict[str, set[Key]] = attrs.field(init=False, factory=lambda: defaultdict(set))  # by service
    _generation: int | None = attrs.field(init=False, default=None)
    _settled_at: float = attrs.field(init=False, default=0.0)

    def observe(self, node: Mapping[str, Any]) -> None:
        """Take what the agent says about itself: after a restart a new run begins."""
        if node["generation"] != self._generation:
            age = max(0.0, self._wall() - node["generation"] / 1000)
            self._generation, self._settled_at = node["generation"], self._monotonic() + SETTLE_SECONDS - age
            self.shown.clear()

    @property
    def is_young(self) -> bool:
        """Whether it may not have learnt yet what others offer."""
        return self._monotonic() < self._settled_at


@frozen
class UpdateResult:
    """What came of rendering once."""

    is_new: bool  # whether the file has changed
    look_again: bool  # whether the result may change without an event


@attrs.define(eq=False, repr=False)
class Rendering:
    """One file, made from one template, and the command that is run when it has changed."""

    _fetch: Fetch
    _template: Template
    _file: Path
    _command: Command | None = None
    _allow_empty: bool = False
    _agent_run: AgentRun = attrs.field(factory=AgentRun)
    _given: Mapping[str, Instances] = attrs.field(init=False, factory=dict)  # in what was last written, by service
    is_command_due: bool = attrs.field(init=False, default=False)  # it has not succeeded since the file changed

    def update(self) -> UpdateResult:
        """Render, and replace the file if something else comes out.

        While the agent may not know everything yet, instances that it has not given in this run are believed to exist.
        Raises ``UpdateHeldBack``, ``TemplateError``, ``StorageError``, and what the
        fetch raises; the file is then unchanged.
        """
        node = self._fetch("node")
        self._agent_run.observe(node)
        unsure = not self._allow_empty and (self._agent_run.is_young or node["isolated"])
        known = TemplateData(self._fetch, self._never_met() if unsure else {})
        text = self._template.render(known)
        if unsure and self._file.exists():
            self._check_not_empty(known, isolated=node["isolated"])
        for service, keys in known.found.items():
            self._agent_run.shown[service] |= keys
        is_new = replace(self._file, text)
        if is_new:
            log.info("%s is written: %d bytes, %s", self._file, len(text.encode()), _counts(known))
            self.is_command_due = self._command is not None
        self._given = known.given
        return UpdateResult(is_new, known.silent or unsure)

    def _never_met(self) -> Mapping[str, Instances]:
        """Those in the file that the agent has not given in this run."""
        return {
            service: {key: each for key, each in given.items() if key not in self._agent_run.shown[service]}
            for service, given in self._given.items()
        }

    def run_command(self) -> bool:
        """Run the command if the file has changed since it last succeeded; returns whether all is well."""
        if self.is_command_due:
            assert self._command is not None, "no command to run"
            self.is_command_due = not self._command.run()
        return not self.is_command_due

    def _check_not_empty(self, known: TemplateData, *, isolated: bool) -> None:
        """Raise ``UpdateHeldBack`` if a service has lost its last instance and the agent may be wrong about that."""
        emptied = [
            service
            for service, given in known.given.items()
            if not given
            and self._given.get(service, True)  # what was empty before may stay so
            and (isolated or not self._agent_run.shown[service])
        ]
        if emptied or (known.has_no_services and not self._given):
            why = "hears no other member" if isolated else "has just been started"
            raise UpdateHeldBack(
                f"{self._file} stays as it is: the agent {why}, and knows no instance of "
                f"{', '.join(sorted(emptied)) or 'any service'} (--allow-empty believes it at once)"
            )


def _counts(known: TemplateData) -> str:
    return ", ".join(f"{len(each)} of {service}" for service, each in sorted(known.given.items())) or "no instances"
