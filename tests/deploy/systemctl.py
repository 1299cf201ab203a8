"""A stand-in for systemd's `systemctl` on a host of a test: it runs the one service as its unit says.

It obeys what decides whether the service works: `Type=notify`, the user and groups, the state directory, the
environment, `ExecReload` and restarts. Hardening is not applied.

Usage: ``python systemctl.py DIRECTORY COMMAND [...]``.
"""

from __future__ import annotations

import grp
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

#: Of the user that `DynamicUser` makes: in systemd's range (systemd.exec(5)).
_USER = 61234

_STATE = Path("/var/lib/gossipreg")


def unit() -> dict[str, list[str]]:
    """The lines of the unit, by key."""
    found = defaultdict[str, list[str]](list)
    text = Path("/etc/systemd/system/gossipreg.service").read_text()
    for key, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found[key].append(value)
    return found


def as_user(lines: dict[str, list[str]]) -> list[str]:
    """What runs a command as the service's user, in its groups and with no privileges."""
    assert lines["DynamicUser"] == ["yes"]
    groups = ",".join(str(grp.getgrnam(name).gr_gid) for name in lines["SupplementaryGroups"])
    rights = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", f"--groups={groups}", *rights]


def environment(lines: dict[str, list[str]]) -> dict[str, str]:
    """The variables of the service, which has none of the shell's."""
    return {"PATH": os.environ["PATH"], **dict(each.split("=", 1) for each in lines["Environment"])}


def supervise(directory: Path, lines: dict[str, list[str]]) -> None:
    """Run the service, and start it again when it is killed, until it ends by itself."""
    variables = environment(lines) | {"NOTIFY_SOCKET": f"{directory}/notify"}
    with (directory / "log").open("ab") as log:
        while True:
            command = [*as_user(lines), *lines["ExecStart"][0].split()]
            process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            (directory / "pid").write_text(str(process.pid))
            if process.wait() in (0, int(lines["RestartPreventExitStatus"][0])):
                return
            time.sleep(1)  # RestartSec


def start(directory: Path, lines: dict[str, list[str]]) -> None:
    """Start the service and wait until it is ready."""
    assert lines["StateDirectory"] == [_STATE.name]
    _STATE.mkdir(mode=int(lines["StateDirectoryMode"][0], 8), exist_ok=True)
    shutil.chown(_STATE, _USER, _USER)
    (directory / "notify").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(f"{directory}/notify")
        (directory / "notify").chmod(0o777)
        notified.settimeout(60)
        if os.fork() == 0:
            os.setsid()
            with open(os.devnull, "r+b", 0) as nowhere:
                for number in range(3):
                    os.dup2(nowhere.fileno(), number)
            supervise(directory, lines)
            os._exit(0)
        try:
            while not notified.recv(4096).startswith(b"READY=1\n"):
                pass
        except TimeoutError:
            raise SystemExit(f"it does not get ready: {(directory / 'log').read_text()}") from None


def stop(directory: Path) -> None:
    """Have the service end, and wait for it."""
    process = int((directory / "pid").read_text())
    os.kill(process, signal.SIGTERM)
    for _ in range(600):
        if not Path(f"/proc/{process}").exists():
            return
        time.sleep(0.1)
    raise TimeoutError("the service does not end")


def main(directory: Path, command: str, *arguments: str) -> None:
    """Do what `systemctl` does."""
    lines = unit()
    match command, arguments:
        case "daemon-reload", ():
            pass
        case "enable", ("--now", "gossipreg"):
            start(directory, lines)
        case "restart", ("gossipreg",):
            stop(directory)
            start(directory, lines)
        case "reload", ("gossipreg",):
            process = (directory / "pid").read_text()
            for each in lines["ExecReload"]:
                words = each.replace("$MAINPID", process).split()
                subprocess.run([*as_user(lines), *words], env=environment(lines), check=True)
        case "kill", ("--kill-whom=main", "--signal=SIGKILL", "gossipreg"):
            os.kill(int((directory / "pid").read_text()), signal.SIGKILL)
        case _:
            raise SystemExit(f"no such command here: {command} {arguments}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
