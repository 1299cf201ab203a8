"""Clients of PostgreSQL and Redis write through the balancer, and follow when another server becomes primary."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import pytest
import trio

from tests.drills.agents import fixed_address, open_agents
from tests.drills.waiting import eventually
from tests.frontends.proxy.test_drill import program

pytestmark = pytest.mark.peer

#: Where Debian has the programs of a PostgreSQL server, one folder a version.
_POSTGRES: Final = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)

#: How long a client waits before it tries a write again that failed (seconds).
_PAUSE: Final = 0.02


class Client(Protocol):
    """One connection of a client."""

    def write(self, number: int) -> None:
        """Write a number. Raises an exception of the client's own if that fails."""

    def close(self) -> None: ...


class Server(Protocol):
    """One server of two, the second of which follows the first."""

    port: int

    def client(self, port: int) -> Client:
        """A client that calls a server of this kind at a port of this host."""

    def rows(self) -> set[int]:
        """What was written to this server, or came to it from the other one."""

    def is_level_with(self, other: Any) -> bool:
        """Whether it has all that ``other``, which it follows, has by now."""

    def promote(self) -> None:
        """Follow no more, and take writes."""


@attrs.define
class Writer:
    """An application: writes one number after the other, and connects anew when that fails, as pools do."""

    connect: Callable[[], Client]
    acknowledged: set[int] = attrs.field(factory=set)
    failures: int = 0
    is_over: bool = False

    def run(self) -> None:
        client: Client | None = None
        number = 0
        while not self.is_over:
            number += 1
            try:
                client = client or self.connect()
                client.write(number)
                self.acknowledged.add(number)
            except Exception:  # noqa: BLE001 - each client has its own
                self.failures += 1
                if client is not None:
                    client.close()
                client = None
                time.sleep(_PAUSE)
        if client is not None:
            client.close()


# PostgreSQL


@attrs.define
class PostgresClient:
    connection: Any

    def write(self, number: int) -> None:
        self.connection.execute("INSERT INTO written VALUES (%s)", (number,))

    def close(self) -> None:
        self.connection.close()


@attrs.define
class Postgres:
    port: int

    def ask(self, query: str) -> Any:
        with self.client(self.port).connection as connection:
            done = connection.execute(query)
            return done.fetchall() if done.description else []

    def client(self, port: int) -> PostgresClient:
        psycopg = pytest.importorskip("psycopg")
        at = {"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": "postgres"}
        return PostgresClient(psycopg.connect(**at, connect_timeout=10, autocommit=True))

    def rows(self) -> set[int]:
        return {number for (number,) in self.ask("SELECT number FROM written")}

    def is_level_with(self, other: Postgres) -> bool:
        [(written,)] = other.ask("SELECT pg_current_wal_lsn()::text")
        return bool(self.ask(f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")[0][0])

    def promote(self) -> None:
        assert self.ask("SELECT pg_promote()") == [(True,)]


@contextmanager
def owned_directory() -> Iterator[tuple[Path, str | None]]:
    """A directory of the user that PostgreSQL may run as, which is never root; with its name if it is another one."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="gossipreg-") as name:
        if user is not None:
            found = pwd.getpwnam(user)
            os.chown(name, found.pw_uid, found.pw_gid)
        yield Path(name), user


@asynccontextmanager
async def postgres(directory: Path, user: str | None) -> AsyncIterator[Postgres]:
    """A server with the data in ``directory``."""
    assert _POSTGRES is not None
    port = int(fixed_address().rpartition(":")[2])
    settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "port": port}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    log = (directory.parent / f"{directory.name}.log").open("wb")
    with log:
        process = await trio.lowlevel.open_process(
            [str(_POSTGRES / "postgres"), "-D", str(directory), *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            user=user,
            cwd=directory,
        )
    try:
        server = Postgres(port)

        async def answers() -> None:
            try:
                await trio.to_thread.run_sync(server.ask, "SELECT 1")
            except Exception as error:
                raise AssertionError(f"it does not answer: see {log.name}") from error

        await eventually(answers)
        yield server
    finally:
        process.send_signal(signal.SIGQUIT)
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def two_postgres() -> AsyncIterator[tuple[Server, Server]]:
    assert _POSTGRES is not None
    with owned_directory() as (home, user):
        run = partial(trio.run_process, user=user, cwd=home, capture_stdout=True)
        first, second = home / "first", home / "second"
        made = ["-U", "postgres", "-A", "trust", "--no-sync", "--locale=C", "--encoding=UTF8"]
        await run([str(_POSTGRES / "initdb"), "-D", str(first), *made])
        async with postgres(first, user) as one:
            await trio.to_thread.run_sync(one.ask, "CREATE TABLE written (number int)")
            copy = ["-D", str(second), "-h", "127.0.0.1", "-p", str(one.port), "-U", "postgres"]
            await run(
                [str(_POSTGRES / "pg_basebackup"), *copy, "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
            )
            async with postgres(second, user) as other:
                yield one, other


# Redis


@attrs.define
class RedisClient:
    connection: Any

    def write(self, number: int) -> None:
        self.connection.sadd("written", number)

    def close(self) -> None:
        self.connection.close()


@attrs.define
class Redis:
    port: int

    def client(self, port: int) -> RedisClient:
        redis = pytest.importorskip("redis")
        never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        return RedisClient(redis.Redis(port=port, socket_timeout=10, retry=never))

    def rows(self) -> set[int]:
        return set(map(int, self.client(self.port).connection.smembers("written")))

    def is_level_with(self, other: Redis) -> bool:
        here, there = (each.client(each.port).connection.info("replication") for each in (self, other))
        return bool(here["master_link_status"] == "up" and here["slave_repl_offset"] == there["master_repl_offset"])

    def promote(self) -> None:
        self.client(self.port).connection.replicaof("NO", "ONE")


@asynccontextmanager
async def redis_server(directory: Path, *flags: str) -> AsyncIterator[Redis]:
    address = fixed_address().rpartition(":")[2]
    process = await trio.lowlevel.open_process(
        ["redis-server", "--bind", "127.0.0.1", "--port", address, "--save", "", "--dir", str(directory), *flags],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        server = Redis(int(address))

        async def answers() -> None:
            try:
                await trio.to_thread.run_sync(server.rows)
            except Exception as error:
                raise AssertionError("it does not answer") from error

        await eventually(answers)
        yield server
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def two_redis() -> AsyncIterator[tuple[Server, Server]]:
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gossipreg-")))
        one = await stack.enter_async_context(redis_server(home))
        follow = ("--replicaof", f"127.0.0.1 {one.port}", "--repl-diskless-sync-delay", "0")
        other = await stack.enter_async_context(redis_server(home, *follow))

        async def follows() -> None:
            assert other.is_level_with(one)

        await eventually(follows)
        yield one, other


def needs(module: str, program_: object, package: str) -> pytest.MarkDecorator:
    try:
        __import__(module)
    except ImportError:
        return pytest.mark.skip(reason=f"{module} is not installed (PyPI: {module})")
    return pytest.mark.skipif(not program_, reason=f"{package} is not installed (Debian: {package})")


@pytest.mark.parametrize(
    "two_servers",
    [
        pytest.param(two_postgres, marks=needs("psycopg", _POSTGRES, "postgresql"), id="PostgreSQL"),
        pytest.param(two_redis, marks=needs("redis", shutil.which("redis-server"), "redis-server"), id="Redis"),
    ],
)
async def test_writes_follow_the_primary_and_none_that_was_acknowledged_is_lost(
    two_servers: Callable[[], Any], tmp_path: Path
) -> None:
    at = fixed_address()
    port = int(at.rpartition(":")[2])
    async with open_agents(tmp_path) as agents, two_servers() as (old, new):
        agent = await agents.start("alpha")
        await agent.register("db", old.port, id="old", role="primary", term=1)
        await agent.register("db", new.port, id="new", role="replica")
        flags = ("--listen", at, "--service", "db", "--role", "primary", "--drain-time", "3600")
        async with program("gossipreg", "proxy", *flags, "--http", agent.http), trio.open_nursery() as nursery:
            writer = Writer(partial(old.client, port))
            nursery.start_soon(trio.to_thread.run_sync, writer.run)
            try:
                held = await trio.to_thread.run_sync(old.client, port)
                await trio.to_thread.run_sync(held.write, 0)
                await eventually(partial(assert_, lambda: len(writer.acknowledged) > 50))
                assert writer.failures == 0
                await agent.register("db", new.port, id="new", role="primary", term=2)
                await eventually(partial(assert_, lambda: writer.failures > 0))  # refused by the one that follows
                # Its connection is cut. Redis's client connects anew by itself, and finds the server that only follows.
                with pytest.raises(Exception, match=r"(?i)closed|reset|read only"):
                    await trio.to_thread.run_sync(held.write, -1)
                held.close()
                await eventually(partial(assert_, lambda: new.is_level_with(old)))
                before = old.rows()
                new.promote()
                acknowledged = len(writer.acknowledged)
                await eventually(partial(assert_, lambda: len(writer.acknowledged) > acknowledged + 50))
            finally:
                writer.is_over = True
        assert old.rows() == before, "it still takes writes, and gets none"
        assert writer.acknowledged | {0} <= new.rows()
        with closing(old.client(old.port)) as direct:
            direct.write(-2)


async def assert_(condition: Callable[[], bool]) -> None:
    """Assert it, in a thread: clients of databases block."""
    assert await trio.to_thread.run_sync(condition)
