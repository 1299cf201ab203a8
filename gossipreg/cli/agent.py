"""The `agent` command: runs a member of the cluster; one flag for each setting."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from gossipreg.cli.declare import command, option, path
from gossipreg.cli.logs import write_logs
from gossipreg.cli.settings import FILE_VARIABLE, SETTINGS, load, misspelled_variables

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("gossipreg.agent")

_Command = TypeVar("_Command", bound=Callable[..., Any])

_METAVARS: Final = {
    "name": "NAME",
    "cluster": "NAME",
    "bind": "HOST:PORT",
    "advertise": "HOST:PORT",
    "join": "HOST:PORT",
    "cell": "NAME",
    "zone": "NAME",
    "node_meta": "KEY=VALUE",
    "key_file": "FILE",
    "credential_key_file": "FILE",
    "authority_file": "FILE",
    "identity_cert": "FILE",
    "identity_key": "FILE",
    "join_token_file": "FILE",
    "issuers": "HOST:PORT",
    "issuer_key_file": "FILE",
    "data_dir": "DIR",
    "snapshot": "FILE",
    "command_checks": "off|own|api",
    "check_targets": "TARGET",
    "check_headers": "NAME",
    "http": "HOST:PORT|unix:/PATH|off",
    "tokens_file": "FILE",
    "cluster_token_scopes": "SCOPE|off",
    "audit_log": "FILE",
    "tls_cert": "FILE",
    "tls_key": "FILE",
    "tls_client_ca": "FILE",
    "compatibility_apis": "NAME|off",
    "attach": "HOST:PORT|unix:/PATH",
    "attach_group": "GROUP",
    "dns": "HOST:PORT|off",
    "dns_tls": "HOST:PORT|off",
    "dns_domain": "NAME",
    "dns_ttl": "SECONDS",
    "failover": "REGION|nearest",
    "failover_threshold": "SHARE",
    "services_dir": "DIR",
    "profile": "lan|wan|local",
    "log_format": "text|json",
    "log_level": "debug|info|warning|error",
}


def _setting_flags(command: _Command) -> _Command:
    """Give the command one option for each setting that has a flag; its help is the setting's own."""
    for key, setting in reversed(list(SETTINGS.items())):
        if setting.flag is not None:
            told: dict[str, Any] = {"metavar": _METAVARS.get(key)}
            if setting.default is False:
                told["is_flag"] = True
            elif isinstance(setting.default, tuple):
                told["multiple"] = True
            elif isinstance(setting.default, int):
                told["type"] = int
            text = setting.doc + (f"  [default: {setting.shown_default}]" if setting.default else "")
            command = option(setting.flag, key, help=text, **told)(command)
    return command


@command()
@_setting_flags
@option(
    "--config",
    "file",
    metavar="FILE",
    envvar=FILE_VARIABLE,
    type=path(),
    help="TOML file with any of these settings, the protocol's, and services.",
)
@option("--check-config", is_flag=True, help="Only check that all settings and files can be used; start nothing.")
def agent(file: Path | None, *, check_config: bool, **flags: Any) -> None:
    """Run a member of the cluster, with HTTP and DNS for this host.

    A setting is taken from its flag, else from the environment (GOSSIPREG_BIND, GOSSIPREG_JOIN=a,b,
    GOSSIPREG_PROTOCOL_PROBE_INTERVAL, ...), else from the file, else it has its default.

    When it is ready it writes one line to standard output, with the addresses it got. SIGTERM or Ctrl-C makes it
    drain, leave the cluster and exit with 0; a second one stops it at once, with 1. On SIGHUP it reads again the
    services that its files define, in tables [[services]], keys, certificates and tokens, and whether identity is
    required now.

    Examples:
      gossipreg agent
      gossipreg agent --name web-1 --bind 10.0.0.5:7940 --join 10.0.0.6 --key-file key
      gossipreg agent --config agent.toml --http off --dns off
      gossipreg agent --services-dir services.d
      gossipreg agent --services-dir services.d --check-config
    """
    config = load(flags, os.environ, file)
    if check_config:
        from gossipreg.cli.run_agent import check

        print(check(config, file))
        return
    write_logs(config.log_format, config.log_level)
    for variable, meant in misspelled_variables(os.environ):
        _log.warning("the variable %s is not known and was ignored: did you mean %s?", variable, meant)

    from gossipreg.cli.run_agent import run  # with trio: the other commands start without it

    run(config, file, partial(load, flags, os.environ, file))
