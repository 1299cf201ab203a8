"""A real browser: Debian's Chromium, driven by playwright-core from npm, with axe-core for what screen readers need."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio

from tests.peers import npm

#: The mark of tests that need it.
needs_chromium = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed (Debian: chromium)"
)

_PROGRAM: Final = Path(__file__).with_name("browser.mjs")

#: How long one request to the browser may take (seconds). The machine may be busy.
_PATIENCE: Final = 60.0


@attrs.define(eq=False)
class Browser:
    """One page in one browser."""

    _process: trio.Process
    _rest: bytes = b""

    async def run(self, code: str) -> Any:
        """Run the body of an async function, which knows ``page``, ``context``, ``log`` and ``axe``; what it returns.

        Raises ``AssertionError`` with the browser's error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with trio.fail_after(_PATIENCE):
            await self._process.stdin.send_all(json.dumps(code).encode() + b"\n")
            while b"\n" not in self._rest:
                part = await self._process.stdout.receive_some()
                assert part, "the browser has ended"
                self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    async def sees(self, *texts: str) -> None:
        """Wait until the page shows each of these texts."""
        for text in texts:
            await self.run(f"await page.getByText({json.dumps(text)}).first().waitFor()")

    async def complaints(self) -> list[str]:
        """What the console has said of errors, and of what the Content-Security-Policy has stopped."""
        said: list[str] = await self.run("return log.filter((each) => !each.startsWith('log'))")
        return said

    async def serious(self) -> list[str]:
        """What axe finds wrong on the page as it is, and calls serious or critical."""
        await self.run("await page.evaluate(await import('node:fs').then((fs) => fs.readFileSync(axe, 'utf8')))")
        found: list[str] = await self.run(
            "const { violations } = await page.evaluate('axe.run()');"
            "return violations.filter((each) => ['serious', 'critical'].includes(each.impact))"
            ".map((each) => `${each.id}: ${each.nodes.map((node) => node.html).join(' ')}`)"
        )
        return found


def install_browser(directory: Path) -> Path:
    """Install what drives the browser into ``directory``, which is returned. Skips the test where that fails."""
    for package, version in (("playwright-core", "1.65.1"), ("axe-core", "4.14.1")):
        npm.install(package, version, directory)
    return directory


@asynccontextmanager
async def open_browser(modules: Path) -> AsyncIterator[Browser]:
    """A browser for as long as the block, by what was installed into ``modules``."""
    chromium = shutil.which("chromium")
    command = ["node", str(_PROGRAM), str(modules), str(chromium)]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield Browser(process)
        assert process.stdin is not None
        await process.stdin.aclose()
        with trio.move_on_after(_PATIENCE):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
