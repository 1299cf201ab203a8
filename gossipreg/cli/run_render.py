"""Keeping a file rendered: from the agent's first answer, through its events, to the signal that ends it.

The command imports it when it runs, since jinja2 takes long to import and may be missing.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Final

import attrs

from gossipreg.cli.client import AgentClient
from gossipreg.cli.service_manager import ServiceManager
from gossipreg.errors import AgentUnreachable, GossipregError, TemplateError
from gossipreg.frontends.render.answers import KeptAnswers
from gossipreg.frontends.render.command import Command
from gossipreg.frontends.render.rendering import LOOK_SECONDS, Rendering, UpdateHeldBack, UpdateResult
from gossipreg.frontends.render.template import Template
from gossipreg.frontends.render.template_data import TemplateData

_log = logging.getLogger("gossipreg.render")

#: First and longest wait before an agent that went away is tried again (seconds); each wait doubles the last.
_WAIT: Final = 0.1
_WAIT_MAX: Final = 5.0

#: Time between two renderings of which the first changed nothing (seconds), so that a busy cluster costs little.
_PAUSE: Final = 0.1


def show(agent: AgentClient, template: Path) -> None:
    """Write the rendered ``template`` to standard output. Raises ``TemplateError`` and ``AgentUnreachable``."""
    print(_read(template).render(TemplateData(agent.get)), end="")


def render_once(agent: AgentClient, template: Path, file: Path, command: Command | None, *, allow_empty: bool) -> None:
    """Render once. Whatever goes wrong is raised as a ``GossipregError``."""
    rendering = Rendering(agent.get, _read(template, file), file, command, allow_empty)
    rendering.update()
    if not rendering.run_command():
        raise GossipregError(f"{file} is written, but its command failed: see above")


def keep_rendered(
    agent: AgentClient, template: Path, file: Path, command: Command | None, *, interval: float, allow_empty: bool
) -> None:
    """Keep ``file`` rendered until a signal ends it. Raises ``TemplateError`` if the template cannot be read."""
    answers = KeptAnswers(agent.get)
    rendering = Rendering(answers, _read(template, file), file, command, allow_empty)
    RenderLoop(agent, answers, rendering, interval, ServiceManager.of(os.environ, os.getpid())).run()


def _read(file: Path, out: Path | None = None) -> Template:
    template = Template(file.absolute(), out)
    template.check()
    return template


@attrs.define(eq=False, repr=False)
class RenderLoop:
    """Renders at once when something has changed; if that changed the file, not again for the interval."""

    _agent: AgentClient
    _answers: KeptAnswers
    _rendering: Rendering
    _interval: float
    _manager: ServiceManager = attrs.field(factory=ServiceManager)
    _changed: threading.Event = attrs.field(init=False, factory=threading.Event)
    _ended: threading.Event = attrs.field(init=False, factory=threading.Event)
    _last_warning: str = attrs.field(init=False, default="")  # so that each is logged once
    _is_ready: bool = attrs.field(init=False, default=False)  # the file was in step once

    def run(self) -> None:
        """Go on until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, lambda *_: self._changed.set())
        threading.Thread(target=self._follow, name="follow", daemon=True).start()
        must_recheck = False
        while not self._ended.is_set():
            was_notified = self._changed.wait(LOOK_SECONDS if must_recheck else None)
            self._changed.clear()
            if self._ended.is_set():
                break
            update = self._render(retry=was_notified)
            must_recheck = update.look_again
            done_something = update.is_new or self._rendering.is_command_due
            self._ended.wait(self._interval if done_something else min(self._interval, _PAUSE))
        self._manager.stopping("the file stays as it is")

    def _render(self, *, retry: bool) -> UpdateResult:
        """Render, and log what is wrong. A command that failed is run again with ``retry``."""
        try:
            update = self._rendering.update()
        except TemplateError as error:
            self._warn_once(logging.ERROR, f"{error}; the file stays as it is")
            return UpdateResult(is_new=False, look_again=False)
        except AgentUnreachable:
            return UpdateResult(is_new=False, look_again=True)  # `_follow` logs it
        except GossipregError as error:
            self._warn_once(logging.WARNING if isinstance(error, UpdateHeldBack) else logging.ERROR, str(error))
            return UpdateResult(is_new=False, look_again=True)
        self._last_warning = ""
        if update.is_new or retry:
            self._rendering.run_command()
        if not self._is_ready:
            self._is_ready = True
            self._manager.ready(f"following the agent at {self._agent.address}")
        return update

    def _warn_once(self, level: int, sentence: str) -> None:
        if sentence != self._last_warning:
            _log.log(level, sentence)
        self._last_warning = sentence

    def _follow(self) -> None:
        """Notify the render loop of every event, over one stream of events after another."""
        there, wait = True, _WAIT
        while True:
            lost = f"the agent at {self._agent.address} has gone"
            try:
                for event, data in self._agent.events():
                    self._answers.heard(event, data)
                    if not there:
                        _log.info("the agent at %s answers", self._agent.address)
                    there, wait = True, _WAIT
                    self._changed.set()
            except GossipregError as error:
                lost = str(error)
            self._answers.lost()
            if there:
                _log.warning("%s; the file stays as it is until it answers", lost)
                there = False
            time.sleep(wait)
            wait = min(2 * wait, _WAIT_MAX)

    def _end(self, *_: object) -> None:
        self._ended.set()
        self._changed.set()
