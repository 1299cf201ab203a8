"""Packets are lost where they should be, and nowhere else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.loss import main, tables
from tests.drills.namespaces import needs_namespaces

SCRIPT = Path(__file__).with_name("loss.py")

needs_tables = pytest.mark.skipif(shutil.which(tables("restore")) is None, reason="losing packets needs iptables")


@pytest.mark.netns
@pytest.mark.slow
@needs_namespaces
@needs_tables
def test_as_many_packets_are_lost_as_were_to_be_and_the_registration_is_seen_all_the_same() -> None:
    told = ("--nodes", "3", "--skip-serf", "--loss", "40", "--rounds", "1", "--registrations", "2", "--calm", "3")
    ran = subprocess.run([sys.executable, SCRIPT, *told], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^\| 40 % \| ms \| [\d.]+ ", ran.stdout, re.MULTILINE)
    lost = re.search(r"packets were lost \(([\d.]+) %\)", ran.stdout)
    assert lost is not None
    assert 20 < float(lost[1]) < 60


@pytest.mark.parametrize("loss", ["100", "-1", "some"])
def test_a_loss_that_cannot_be_is_refused(loss: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--loss={loss}"])
    assert ended.value.code == 2
    assert "--loss: " in capsys.readouterr().err
