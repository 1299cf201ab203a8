"""Rules about the agent on its host: whether it answers, what it exposes, its files, its disk and its resources."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gossipreg.cli.doctor.facts import Facts
from gossipreg.cli.doctor.findings import Diagnosis, Rule, Severity, lines, listed, rule
from gossipreg.counters import Count

#: How long before its end a certificate is worth a finding (seconds).
CERTIFICATE_SECONDS: Final = 14 * 86_400.0

#: Least free space of a data directory (bytes): its database has a few times the size of what the agent offers.
DATA_BYTES_MIN: Final = 64 * 2**20

#: Least number of descriptors: the default of most systems.
DESCRIPTORS_MIN: Final = 1_024

#: The size of the gossip socket's buffer that an agent asks for (bytes): see docs/capacity.md.
_RECEIVE_BUFFER: Final = 4_194_304


@rule(
    evidence="no answer of the API; what listens at its port, the socket file, agents elsewhere on this host",
    remedy="Start the agent, stop the other program, or name the right address in `--http`.",
)
def unreachable(facts: Facts) -> Diagnosis | None:
    """The agent's API gives no answer."""
    found = facts.unreachable
    if found is None or found.refused:
        return None
    why, do = [found.sentence], "start the agent: gossipreg agent, or systemctl start gossipreg"
    if found.program is not None:
        why.append(f"{facts.agent} is listened at by {found.program}")
        do = "stop that program, or give the agent another port with --http HOST:PORT"
        if "gossipreg" in found.program.command:
            do = "the agent is there and does not answer: look into its log, then restart it"
    if found.socket_file:
        why.append(f"{facts.agent} {found.socket_file}")
        do = "run this as the agent's user, or start the agent"
    other = found.configured or next(iter(found.elsewhere), "")
    if found.configured:
        why.append(f"the configuration file has the agent listen at {found.configured}")
    if found.elsewhere:
        why.append(f"agents answer at {listed(found.elsewhere)}")
    run: tuple[str, ...] = ()
    if other:
        do, run = "ask the agent there", ("gossipreg", "doctor", "--http", other)
    return Diagnosis(Severity.ERROR, f"no agent answers at {facts.agent}", tuple(why), do, run)


@rule(evidence="the agent's refusal: 401 or 403", remedy="`export GOSSIPREG_TOKEN=...`, or `--token-file FILE`.")
def token_refused(facts: Facts) -> Diagnosis | None:
    """The agent asks for a token, and takes not this one."""
    found = facts.unreachable
    if found is None or not found.refused:
        return None
    return Diagnosis(
        Severity.ERROR,
        f"the agent at {facts.agent} does not take the token",
        (found.sentence,),
        "set GOSSIPREG_TOKEN, or pass --token-file FILE, with a token of the scopes read and operator",
    )


@rule(
    evidence="answers that the token's scopes do not allow",
    remedy="A token with the scopes `read`, `checks` and `operator`.",
)
def not_told(facts: Facts) -> Diagnosis | None:
    """Parts could not be looked at."""
    if not facts.not_told:
        return None
    return Diagnosis(
        Severity.NOTE,
        f"not looked at: {listed(facts.not_told)}",
        lines(dict.fromkeys(facts.not_told.values())),
        "use a token with the scopes read, checks and operator",
    )


def _warnings(facts: Facts, beginning: str, *parts: str) -> tuple[str, ...]:
    return tuple(
        each
        for each in facts.node.get("warnings", ())
        if each.startswith(beginning) and any(part in each for part in parts)
    )


@rule(evidence="`warnings`", remedy="`gossipreg keygen --out key`, and `--key-file key` on every host.")
def gossip_in_clear(facts: Facts) -> Diagnosis | None:
    """Gossip is in clear beyond loopback."""
    why = _warnings(facts, "gossip at ", "in clear")
    if not why:
        return None
    return Diagnosis(
        Severity.ERROR,
        "the gossip is in clear beyond this host",
        why,
        "make a key, and pass --key-file on every host: see docs/keys.md",
        ("gossipreg", "keygen", "--out", "key"),
    )


@rule(evidence="`warnings`", remedy="`--tokens-file`, `--tls-cert` and `--tls-key`, or `--http` on loopback.")
def http_exposed(facts: Facts) -> Diagnosis | None:
    """HTTP beyond loopback asks for no token, or takes tokens in clear."""
    why = _warnings(facts, "HTTP at ", "asks for no token", "takes tokens in clear")
    if not why:
        return None
    return Diagnosis(
        Severity.ERROR if "asks for no token" in why[0] else Severity.WARNING,
        "the HTTP API is open to other hosts",
        why,
        "pass --tokens-file, --tls-cert and --tls-key, or --http 127.0.0.1:8500: see docs/security.md",
    )


@rule(evidence="`warnings`, without those above", remedy="What the sentence says.")
def other_warnings(facts: Facts) -> Diagnosis | None:
    """The agent warns of its configuration."""
    known = {*_warnings(facts, "gossip at ", "in clear"), *_warnings(facts, "HTTP at ", "token")}
    why = [each for each in facts.node.get("warnings", ()) if each not in known]
    if not why:
        return None
    return Diagnosis(
        Severity.NOTE,
        "the agent warns of its configuration",
        lines(why),
        "see docs/configuration.md, warnings",
    )


@rule(evidence="the file `--config`", remedy="`gossipreg agent --config FILE --check-config`")
def configuration(facts: Facts) -> Diagnosis | None:
    """The configuration file cannot be used."""
    host = facts.host
    if not host.config_problem:
        return None
    return Diagnosis(
        Severity.ERROR,
        "the configuration cannot be used: the next start of the agent fails",
        (host.config_problem,),
        "correct it",
        ("gossipreg", "agent", "--config", host.config, "--check-config"),
    )


@rule(
    evidence="owner and mode of the files with keys, tokens and services (`--config`)",
    remedy="`chmod 600 FILE`, `chown USER FILE`",
)
def files_exposed(facts: Facts) -> Diagnosis | None:
    """A secret file can be read, or a trusted one changed, by other users."""
    found = [each for each in facts.host.files if each.is_exposed]
    if not found:
        return None
    _, _, command = found[0].problem.rpartition("run ")
    return Diagnosis(
        Severity.ERROR,
        "files can be read or changed by other users, so the agent does not start with them",
        lines(f"{each.setting}: {each.problem}" for each in found),
        command or "see docs/security.md",
    )


@rule(evidence="the files that the configuration names (`--config`)", remedy="Put the file there.")
def files_missing(facts: Facts) -> Diagnosis | None:
    """A file of the configuration cannot be read."""
    found = [each for each in facts.host.files if not each.is_exposed]
    if not found:
        return None
    return Diagnosis(
        Severity.ERROR,
        "files of the configuration cannot be read",
        lines(f"{each.setting}: {each.path}: {each.problem}" for each in found),
        f"put {found[0].path} there, or correct {found[0].setting}: see docs/configuration.md",
    )


@rule(
    evidence="owner, mode, free bytes and free files of `data_dir` (`--config`)",
    remedy="Create it for the agent's user, or make room.",
)
def data_directory(facts: Facts) -> Diagnosis | None:
    """The data directory is missing, full, or not writable for the agent."""
    found = facts.host.data_directory
    if found is None:
        return None
    if found.problem:
        return Diagnosis(
            Severity.ERROR,
            "the agent cannot keep its state",
            (f"{found.path} {found.problem}",),
            f"install -d -m 700 -o USER {found.path}, with the agent's user",
        )
    is_full = found.free is not None and found.free < DATA_BYTES_MIN
    if not is_full and found.free_files != 0:
        return None
    free = f"{(found.free or 0) / 2**20:.0f} MiB are free, {DATA_BYTES_MIN / 2**20:.0f} are needed"
    return Diagnosis(
        Severity.ERROR,
        "the disk of the data directory is full",
        (f"{found.path}: {free if is_full else 'no further file can be made'}",),
        "make room on its disk",
        ("df", "-h", found.path) if is_full else ("df", "-i", found.path),
    )


@rule(evidence="counter `audit_lines_lost`", remedy="Make room on the disk of `audit_log`.")
def audit_lost(facts: Facts) -> Diagnosis | None:
    """Lines of the audit log were lost: its disk is full or failing."""
    lost = facts.count(Count.AUDIT_LINES_LOST)
    if not lost:
        return None
    return Diagnosis(
        Severity.ERROR,
        "lines of the audit log were lost: its disk is full or failing",
        (f"audit_lines_lost is {lost}",),
        "make room on the disk of audit_log, then send the agent SIGHUP",
    )


@rule(
    evidence="the process's limit and open descriptors; counters `streams_`, `http_` and `dns_not_accepted`",
    remedy="`LimitNOFILE=65536` in the unit, or `ulimit -n`.",
)
def descriptors(facts: Facts) -> Diagnosis | None:
    """The agent may open too few descriptors."""
    program = facts.host.program
    why = list(
        facts.frequent(
            (Count.STREAMS_NOT_ACCEPTED, Count.HTTP_NOT_ACCEPTED, Count.DNS_NOT_ACCEPTED), least=1, seconds=3600.0
        )
    )
    if program is not None and program.descriptors is not None:
        if program.descriptors < DESCRIPTORS_MIN:
            why.append(f"it may have {program.descriptors} descriptors open, fewer than {DESCRIPTORS_MIN}")
        if program.open is not None and program.open > 0.8 * program.descriptors:
            why.append(f"it has {program.open} descriptors open of {program.descriptors}")
    if not why:
        return None
    return Diagnosis(
        Severity.WARNING,
        "the agent may open too few files and connections",
        tuple(why),
        "set LimitNOFILE=65536 in its unit, or ulimit -n 65536 before it starts: see docs/capacity.md",
    )


@rule(
    evidence="packets that the kernel dropped at the gossip socket, `net.core.rmem_max`",
    remedy=f"`sysctl -w net.core.rmem_max={_RECEIVE_BUFFER}`",
)
def receive_buffer(facts: Facts) -> Diagnosis | None:
    """The kernel drops packets of gossip: its buffer is too small."""
    dropped, most = facts.host.packets_dropped, facts.host.receive_buffer_max
    if not dropped or most is None or most >= _RECEIVE_BUFFER:
        return None
    return Diagnosis(
        Severity.WARNING,
        "the kernel drops packets of gossip",
        (f"{dropped} packets dropped", f"net.core.rmem_max is {most}, the agent asks for {_RECEIVE_BUFFER}"),
        "give it more, and restart the agent: see docs/capacity.md",
        ("sysctl", "-w", f"net.core.rmem_max={_RECEIVE_BUFFER}"),
    )


@rule(evidence="the end of `tls_cert` (`--config`), 14 days ahead", remedy="Renew it, and send SIGHUP.")
def certificate(facts: Facts) -> Diagnosis | None:
    """The certificate of the HTTP API ends soon."""
    host = facts.host
    if host.certificate_end is None or host.certificate_end - facts.now > CERTIFICATE_SECONDS:
        return None
    ended = host.certificate_end <= facts.now
    at = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(host.certificate_end))
    return Diagnosis(
        Severity.ERROR if ended else Severity.WARNING,
        f"the certificate of the HTTP API {'has ended' if ended else 'ends soon'}",
        (f"{host.certificate}: {at}",),
        "renew it, and send the agent SIGHUP",
    )


@rule(
    evidence="`local_health`, counter `lags`",
    remedy="Give the host or the container more CPU; look for swapping.",
)
def starved(facts: Facts) -> Diagnosis | None:
    """The agent's process is starved: it is stopped for moments, or short of CPU."""
    why = list(facts.frequent((Count.LAGS,), least=3, seconds=600.0))
    if local_health := facts.node.get("local_health", 0):
        why.append(f"local_health is {local_health}: it is slower to declare others failed")
    if not why:
        return None
    return Diagnosis(
        Severity.WARNING,
        "the agent is short of CPU, or its network loses packets",
        tuple(why),
        "look at the load and the swap of the host (top, vmstat 1), and at limits of its container",
    )


@rule(evidence="counter `tasks_failed`", remedy="Report the traceback in the log.")
def tasks_failed(facts: Facts) -> Diagnosis | None:
    """A task of the agent failed by a mistake of gossipreg."""
    failed = facts.count(Count.TASKS_FAILED)
    if not failed:
        return None
    return Diagnosis(
        Severity.WARNING,
        "tasks of the agent failed by a mistake of gossipreg",
        (f"tasks_failed is {failed}",),
        "report the traceback in its log",
        ("journalctl", "-u", "gossipreg"),
    )


@rule(evidence="`GET /api/v1/tokens`: `expires`", remedy="`gossipreg tokens create NAME`")
def tokens_expired(facts: Facts) -> Diagnosis | None:
    """A token has expired, or does within a day."""
    ending = [each for each in facts.tokens if each["expires"] is not None and each["expires"] - facts.now < 86_400]
    if not ending:
        return None
    shared = [each for each in ending if each.get("writer")]  # the others are of the agent's file
    return Diagnosis(
        Severity.NOTE,
        "tokens have expired, or do within a day",
        (listed(each["name"] for each in ending),),
        "make another, or revoke it if it is not needed any more" if shared else "replace it in the file of tokens",
        (*("gossipreg", "tokens", "create", shared[0]["name"], "--ttl", "720h"), *_scopes(shared[0])) if shared else (),
    )


def _scopes(token: Mapping[str, Any]) -> Iterator[str]:
    for scope in token["scopes"]:
        yield from ("--scope", str(scope))


RULES: Final[tuple[Rule, ...]] = (
    unreachable,
    token_refused,
    not_told,
    gossip_in_clear,
    http_exposed,
    other_warnings,
    configuration,
    files_exposed,
    files_missing,
    data_directory,
    audit_lost,
    descriptors,
    receive_buffer,
    certificate,
    starved,
    tasks_failed,
    tokens_expired,
)
