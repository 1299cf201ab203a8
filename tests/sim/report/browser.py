"""A headless Chromium for tests, controlled over its debugging pipe: no driver, no network."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

#: Names of the Chromium executable on various systems.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def found() -> str | None:
    """Return the path of a Chromium on this machine."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@attrs.define
class Browser:
    """One page. ``errors`` are its console errors and uncaught exceptions."""

    _write: int
    _read: int
    _session: str = ""
    _serial: int = 0
    _rest: bytes = b""
    _loaded: bool = False
    errors: list[str] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._serial += 1
        message = {"id": self._serial, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._next()
            if heard.get("id") == self._serial:
                assert "error" not in heard, f"{method}: {heard['error']}"
                result: dict[str, Any] = heard["result"]
                return result
            self._note(heard)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._read, 1 << 20)
            assert read, "the browser has exited"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        heard: dict[str, Any] = json.loads(message)
        return heard

    def _note(self, heard: dict[str, Any]) -> None:
        parameters = heard.get("params", {})
        match heard.get("method"):
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(parameters["args"]))
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.errors.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True

    def begin(self) -> None:
        """Create the page that later commands use."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def look(self, width: int, height: int, *, dark: bool = False, dots: float = 1.0) -> None:
        """Emulate a screen with this size and colour scheme."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=dots, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path, ready: str = "document.documentElement.dataset.ready === 'true'") -> None:
        """Load a file and wait until it is ``ready``."""
        self._loaded = False
        self.ask("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._note(self._next())
        waiting = (
            f"new Promise((done) => {{ const look = () => ({ready}) ? done(true) : setTimeout(look, 10); look(); }})"
        )
        self.run(waiting)

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page; await a promise."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, json.dumps(answer["exceptionDetails"])
        return answer["result"].get("value")

    def shoot(self, file: Path, *, whole: bool = False) -> None:
        """Save a screenshot as a PNG file."""
        answer = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))


@contextmanager
def browser(path: str, profile: Path) -> Iterator[Browser]:
    """Run a Chromium for the duration of the block. It reads commands from descriptor 3 and answers on 4."""
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    flags = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    flags += ["--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={profile}"]
    script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
    arguments = ["bash", "-c", script, "bash", str(their_in), str(their_out), path, *flags]
    with subprocess.Popen(arguments, pass_fds=(their_in, their_out), stderr=subprocess.DEVNULL) as process:
        os.close(their_in)
        os.close(their_out)
        made = Browser(our_out, our_in)
        try:
            made.begin()
            yield made
            made.ask("Browser.close")
        finally:
            os.close(our_out)
            os.close(our_in)
            process.terminate()
            process.wait(60)
