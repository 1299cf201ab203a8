"""Java libraries of Maven's registry for a test, or the reason why they cannot be had."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import pytest

#: How long fetching libraries may take (seconds). Spring's are about a hundred.
_PATIENCE: Final = 180

#: The mark of tests that need it.
needs_maven = pytest.mark.skipif(
    shutil.which("mvn") is None or shutil.which("javac") is None,
    reason="a JDK or Maven is not installed (Debian: default-jdk-headless maven)",
)

#: Spring's releases that fit together: of Boot, and of Cloud.
BOOT: Final = "4.0.7"
CLOUD: Final = "2025.1.4"

_PARENT: Final = f"""
  <parent>
    <groupId>org.springframework.boot</groupId>
    <artifactId>spring-boot-starter-parent</artifactId>
    <version>{BOOT}</version>
  </parent>"""

_MANAGED: Final = f"""
  <dependencyManagement>
    <dependencies>
      <dependency>
        <groupId>org.springframework.cloud</groupId>
        <artifactId>spring-cloud-dependencies</artifactId>
        <version>{CLOUD}</version>
        <type>pom</type>
        <scope>import</scope>
      </dependency>
    </dependencies>
  </dependencyManagement>"""


def pom(libraries: Sequence[str], *, spring: bool = False) -> str:
    """A project that needs ``libraries``, each ``group:artifact:version``; Spring's are without a version."""
    dependencies = []
    for library in libraries:
        parts = zip(("groupId", "artifactId", "version"), library.split(":"), strict=False)
        lines = "".join(f"\n      <{tag}>{escape(text)}</{tag}>" for tag, text in parts)
        dependencies.append(f"\n    <dependency>{lines}\n    </dependency>")
    return f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>{_PARENT if spring else ""}
  <groupId>application</groupId>
  <artifactId>application</artifactId>
  <version>1</version>{_MANAGED if spring else ""}
  <dependencies>{"".join(dependencies)}
  </dependencies>
</project>
"""


def fetch(directory: Path, libraries: Sequence[str], *, spring: bool = False) -> Path:
    """Put ``libraries`` and all that they need into a folder of ``directory``, which is returned.

    Skips the test when the registry cannot be had.
    """
    (directory / "pom.xml").write_text(pom(libraries, spring=spring))
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libraries"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"Maven did not fetch {libraries[0]} within {_PATIENCE} s")
    if done.returncode != 0:
        pytest.skip(f"Maven cannot fetch {libraries[0]}: {done.stdout.decode(errors='replace')[-300:]}")
    return directory / "libraries"


def compiled(directory: Path, name: str, source: str, libraries: Path) -> str:
    """Compile a class of that name into ``directory``; returns the class path of it and its libraries."""
    file = directory / f"{name}.java"
    file.write_text(source)
    command = ["javac", "-d", str(directory), "-parameters", "-proc:none", "-cp", f"{libraries}/*", str(file)]
    subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=True)
    return f"{directory}:{libraries}/*"


def spring_command(directory: Path, classes: str, settings: str, *more: str) -> list[str]:
    """How to run the pages' application of Spring Cloud with these ``settings``, which go into ``directory``."""
    config = directory / "application.properties"
    lines = (settings, *more, "logging.level.root=warn", "spring.main.banner-mode=off", "")
    config.write_text("\n".join(lines))
    return java(classes, "billing.Application", f"-Dspring.config.location={config}")


def java(classes: str, name: str, *options: str) -> list[str]:
    """How to run the class of that name. ``options`` are for the Java virtual machine."""
    quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Xmx256m")
    return ["java", *quick, *options, "-cp", classes, name]
