"""A real nginx follows a service through a file that `gossipreg render` keeps, by its weights."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.drills.agents import fixed_address
from tests.peers.results import record
from tests.peers.stage import Front, adapted, appears, open_stage, running, version_of, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (Debian: nginx-light)"),
]

PAGE = "clients/nginx.md"

#: What a distribution's nginx.conf says around the files of the page.
CONFIG = """
daemon off;
worker_processes 1;
pid {here}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    include {here}/conf.d/*.conf;
    include {here}/site;
}}
"""


async def test_it_follows_by_a_rendered_file(tmp_path: Path) -> None:
    front = Front(fixed_address())
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "nginx.conf").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "site").write_text(adapted(written(PAGE, "nginx"), {"127.0.0.1:9000": front.address}))
    (tmp_path / "orders.j2").write_text(written(PAGE, "jinja"))
    nginx = f"nginx -p {tmp_path} -c nginx.conf"
    places = {
        "/etc/gossipreg/orders.j2": tmp_path / "orders.j2",
        "/etc/nginx/conf.d": tmp_path / "conf.d",
        "nginx -t -q && nginx -s": f"{nginx} -t -q && {nginx} -s",
        "gossipreg render": f"exec {sys.executable} -m gossipreg render",
    }
    async with open_stage(tmp_path) as stage:
        keep = f"{adapted(written(PAGE, 'sh').strip(), places)} --http {stage.alpha.http}"
        await stage.offer(stage.beta, "one", weight=3)
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")
        async with running(tmp_path / "render.log", "/bin/sh", "-c", f"{keep} --interval-min 100ms"):
            await appears(tmp_path / "conf.d" / "orders.conf")
            async with running(tmp_path / "nginx.log", *nginx.split()):
                await front.reaches("one", "two")
                await front.divides({"one": 30, "two": 10})
                await stage.gamma.kill()
                seconds = await front.reaches("one")
                await stage.offer(stage.beta, "three", weight=1)
                await front.reaches("one", "three")
                await stage.beta.kill()
                await front.reaches("")
    record(
        client="nginx",
        version=await version_of("nginx", "-v"),
        api="rendered file",
        did="follows `gossipreg render`, with no instance left it is 502",
        weights="30:10 for 3:1",
        seconds=seconds,
    )
