"""Builds CoreDNS from its Go module, with the plugins that forward and no others, or says why it cannot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

VERSION: Final = "1.11.4"

#: How long each step may take (seconds): it downloads 34 modules, and then compiles for two minutes.
_PATIENCE: Final = 300

_MODULE: Final = "github.com/coredns/coredns"
_PARTS: Final = ("coremain", "plugin/bind", "plugin/forward")

_MAIN: Final = f"""
package main

import (
	"{_MODULE}/core/dnsserver"
	"{_MODULE}/coremain"
	_ "{_MODULE}/plugin/bind"
	_ "{_MODULE}/plugin/forward"
)

func main() {{
	dnsserver.Directives = []string{{"bind", "forward"}}
	coremain.Run()
}}
"""


def build(directory: Path) -> Path:
    """The program. Skips the test where there is no Go, or no module proxy."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed (Debian: golang-go), so CoreDNS cannot be built")
    (directory / "main.go").write_text(_MAIN)
    (directory / "go.mod").write_text("module peer\n\ngo 1.23\n")
    for step in (("get", *(f"{_MODULE}/{part}@v{VERSION}" for part in _PARTS)), ("build", "-o", "coredns", ".")):
        try:
            done = subprocess.run(["go", *step], cwd=directory, capture_output=True, timeout=_PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"go {step[0]} of CoreDNS took over {_PATIENCE} s")
        if done.returncode:
            pytest.skip(f"go {step[0]} of CoreDNS failed: {done.stderr.decode(errors='replace')[-300:]}")
    return directory / "coredns"
