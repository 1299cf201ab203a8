"""Opening a node: its keys, sockets, store and engine, and the tasks that run it."""

from __future__ import annotations

import ipaddress
import os
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from gossipreg import limits
from gossipreg.config import Config
from gossipreg.config_rules import DEFAULT_PORT
from gossipreg.counters import all_at_zero
from gossipreg.errors import ConfigError
from gossipreg.model import Address, is_name
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.registry.view import first_index
from gossipreg.protocol.wire.keyring import GossipKeyring
from gossipreg.protocol.wire.packets import ChecksummedPackets, PacketCodec, SealedPackets
from gossipreg.runtime import exposure_warnings
from gossipreg.runtime.advertised_address import AdvertisedAddress
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.datagrams import Datagrams
from gossipreg.runtime.defined_instances import DefinedInstances
from gossipreg.runtime.driver import Driver
from gossipreg.runtime.joining import Seeds
from gossipreg.runtime.key_files import NodeKeys
from gossipreg.runtime.lifecycle import NodeLifecycle
from gossipreg.runtime.node import Node
from gossipreg.runtime.node_context import NodeContext
from gossipreg.runtime.node_identity import NodeIdentity
from gossipreg.runtime.node_info import problems
from gossipreg.runtime.node_keyring import NodeKeyring
from gossipreg.runtime.node_record import meta_of, state_meta
from gossipreg.runtime.policy_writer import PolicyWriter
from gossipreg.runtime.registrar import Registrar
from gossipreg.runtime.sockets import GossipSockets, check_safety, open_sockets, resolve_bind
from gossipreg.runtime.state_writer import StateWriter
from gossipreg.runtime.supervision import run_restarting
from gossipreg.targets import CheckRules

if TYPE_CHECKING:
    from gossipreg.runtime.regions.regions import Regions
    from gossipreg.runtime.saved_state import SavedState
    from gossipreg.runtime.snapshot_file import SnapshotFile
    from gossipreg.runtime.state_store import AsyncStateStore


def check_start(config: Config) -> None:
    """Raise what `open_node` would raise because of settings and the files that they name; nothing is opened."""
    if _needs_certificate(config):
        from gossipreg.runtime.enrolment import read_tokens

        read_tokens(config)
        config = attrs.evolve(
            config, identity_cert=None, identity_key=None, identity="auto", join_token_file=None, issuers=()
        )
    check_safety(resolve_bind(config.bind), config, sealed=bool(NodeKeys.of(config).gossip))


@asynccontextmanager
async def open_node(config: Config | None = None) -> AsyncIterator[Node]:
    """Start a node: bind, join in the background, answer at once. On leaving the block the node leaves the cluster.

    Raises ``ConfigError``, ``InsecureError``, ``BindError`` or ``StorageError`` when it cannot start. If the node has
    to stop in the middle because its name is held by another, the block is cancelled and ``NameConflict`` raised.
    """
    config = config or Config()
    bind = resolve_bind(config.bind)
    if _needs_certificate(config):
        from gossipreg.runtime.enrolment import enrol  # few nodes have a join token

        check_start(config)
        await enrol(config, _name_of(config, None, bind), random.Random(os.urandom(16)))
    keys = NodeKeys.of(config)
    check_safety(bind, config, sealed=bool(keys.gossip))
    snapshot = None if config.snapshot is None else await _open_snapshot(config.snapshot, config.cluster)
    store = None if config.data_dir is None else await _open_store(config.data_dir)
    try:
        saved = None if store is None else await store.load()
        sockets = open_sockets(bind, config.advertise)
        try:
            async with _running(config, keys, sockets, store, saved, snapshot=snapshot) as lifecycle:
                yield Node(lifecycle)
        finally:
            sockets.close()
    finally:
        if store is not None:
            with trio.CancelScope(shield=True):
                await store.close()


@asynccontextmanager
async def _running(
    config: Config,
    keys: NodeKeys,
    sockets: GossipSockets,
    store: AsyncStateStore | None,
    saved: SavedState | None,
    *,
    snapshot: SnapshotFile | None,
) -> AsyncIterator[NodeLifecycle]:
    name = _name_of(config, saved, sockets.address)
    keys.identity.check_name(config, name)
    generation = _generation(saved, time.time_ns() // 1_000_000)
    index = max(first_index(generation), saved.index if saved else 0)
    error: BaseException | None = None
    async with trio.open_nursery() as outer:

        async def run(task_status: trio.TaskStatus[NodeLifecycle]) -> None:
            """The node's own tasks, in a nursery of their own: when the node has left, the user's block goes on."""
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.shield = True  # when the user's block is cancelled the node must still leave
                lifecycle = _create(
                    config=config,
                    keys=keys,
                    sockets=sockets,
                    store=store,
                    seeds=Seeds(config.join, saved.peers if saved else ()),
                    name=name,
                    generation=generation,
                    index=index,
                    rng=random.Random(os.urandom(16)),
                    nursery=nursery,
                )
                context, writer = lifecycle.context, lifecycle.state_writer
                if writer is not None:
                    await writer.store_identity()
                await lifecycle.begin(saved)
                await state_meta(
                    lifecycle.registrar,
                    meta_of(config.node_meta, config.region),
                    host=sockets.address.host,
                    zone=config.zone,
                )

                def start(what: str, work: Callable[[], Awaitable[None]]) -> None:
                    nursery.start_soon(run_restarting, context.counters, what, work)

                if snapshot is not None:
                    snapshot.begin(context)
                    start("writing the snapshot", partial(snapshot.keep, context))
                for what, work in (
                    ("following the keys", lifecycle.keyring.follow),
                    ("following the files of identity", lifecycle.identity.follow),
                    ("renewing the certificate", partial(_renew_certificate, config, lifecycle)),
                    ("watching the advertised address", lifecycle.advertised_address.run),
                ):
                    start(what, work)
                nursery.start_soon(context.driver.run)
                nursery.start_soon(context.driver.serve, sockets.tcp)
                if writer is not None:
                    start("storing peers", writer.keep_peers_stored)
                    start("storing the identity", writer.keep_identity_stored)
                    start("storing ttl checks", writer.keep_checks_stored)
                    start("storing policies", lifecycle.policies.store_changes)
                    start("renewing credentials", lifecycle.registrar.renew_credentials)
                task_status.started(lifecycle)
            if context.failure is not None:
                outer.cancel_scope.cancel()

        lifecycle = await outer.start(run)
        try:
            yield lifecycle
        except BaseException as raised:  # noqa: BLE001 - raised again below, outside of the nursery's exception group
            error = raised
        try:
            with trio.CancelScope(shield=True):
                await lifecycle.leave()
        finally:
            lifecycle.context.close()
    if lifecycle.context.failure is not None:
        raise lifecycle.context.failure
    if error is not None:
        raise error


def _create(
    *,
    config: Config,
    keys: NodeKeys,
    sockets: GossipSockets,
    store: AsyncStateStore | None,
    seeds: Seeds,
    name: str,
    generation: int,
    index: int,
    rng: random.Random,
    nursery: trio.Nursery,
) -> NodeLifecycle:
    counters = all_at_zero()
    keyring = GossipKeyring(keys.gossip) if keys.gossip else None
    codec: PacketCodec = (
        ChecksummedPackets(config.cluster) if keyring is None else SealedPackets(keyring, config.cluster, os.urandom(8))
    )
    engine = create_engine(
        name=name,
        generation=generation,
        address=sockets.address,
        zone=config.zone,
        settings=config.protocol,
        rng=rng,
        has_seeds=bool(seeds),
        packet_room=limits.PACKET_BYTES_MAX - codec.overhead,
        now=trio.current_time(),
        counters=counters,
        checks_clocks=keyring is not None,
        is_open=keyring is None,
        authenticator=keys.identity.authenticator(config.cluster),
        index=index,
        cell=config.cell,
    )
    change_log = ChangeLog(engine.view.highest)
    driver = Driver(
        engine, Datagrams(sockets.udp, codec, counters), seeds, change_log, config.cluster, keyring, nursery
    )
    region = config.region or config.cluster
    context = NodeContext(config.cluster, engine, driver, change_log, counters, store, region)
    if config.federate:
        context.regions = _regions(region, config, counters, index)
        nursery.start_soon(context.regions.run)
    driver.on_failure = context.close
    policies = PolicyWriter(context)
    rules = CheckRules.of(config.check_targets, config.check_headers)
    registrar = Registrar(context, policies, config.command_checks, rules, keys.credentials)
    bound = str(sockets.udp.getsockname()[0])
    follows = config.advertise is None and ipaddress.ip_address(bound).is_unspecified
    lifecycle = NodeLifecycle(
        context,
        registrar,
        DefinedInstances(context, registrar),
        policies,
        None if store is None else StateWriter(context, registrar.monitor, store, registrar.is_stored),
        AdvertisedAddress(bound, sockets.address, follows, registrar.move),
        NodeKeyring(keyring, config, keys.gossip, context, policies, registrar),
        NodeIdentity(keys.identity, config, context, policies),
    )
    driver.observer_reports.problems = lambda: problems(lifecycle)
    if (
        keyring is None
        and (exposed := exposure_warnings.gossip_warning(Address(bound, sockets.address.port))) is not None
    ):
        lifecycle.warn(exposed)
    return lifecycle


async def _renew_certificate(config: Config, lifecycle: NodeLifecycle) -> None:
    """Until cancelled: have issuers renew the node's certificate, if it has any."""
    if not config.issuers:
        await trio.sleep_forever()
    from gossipreg.runtime.renewal import CertificateRenewal  # most nodes ask no issuer

    rng = random.Random(os.urandom(16))
    await CertificateRenewal(config, lifecycle.context, lifecycle.identity, rng).run()


def _needs_certificate(config: Config) -> bool:
    """Whether the node has to ask for its first certificate: it has join tokens, and no certificate."""
    certificate = config.identity_cert
    return config.join_token_file is not None and certificate is not None and not certificate.exists()


def _regions(region: str, config: Config, counters: Counter[str], index: int) -> Regions:
    try:
        from gossipreg.runtime.regions.regions import Regions  # most nodes follow no other region
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"federate: following other regions needs the package {missing.name}: pip install gossipreg[agent]"
        ) from None
    return Regions.of(region, config.federate, counters, index=index, rng=random.Random(os.urandom(16)))


async def _open_snapshot(path: Path, cluster: str) -> SnapshotFile:
    from gossipreg.runtime.snapshot_file import SnapshotFile  # most embedded nodes have no snapshot

    return await SnapshotFile.open(path, cluster)


async def _open_store(directory: Path) -> AsyncStateStore:
    from gossipreg.runtime.state_store import AsyncStateStore  # most embedded nodes store nothing

    return await AsyncStateStore.open(directory)


def _generation(saved: SavedState | None, wall: int) -> int:
    """A generation (ms since the epoch) above the last one; not above what peers accept."""
    last = 0 if saved is None else saved.generation
    return max(wall, last + 1) if last < wall + limits.GENERATION_AHEAD_MAX else wall


def _name_of(config: Config, saved: SavedState | None, address: Address) -> str:
    if config.name:
        return config.name
    if saved is not None and saved.name:
        return saved.name
    host = socket.gethostname().split(".")[0]
    name = host if address.port == DEFAULT_PORT else f"{host}-{address.port}"
    if not is_name(name):
        raise ConfigError(f"name: this host's name {host!r} cannot name a member: pass --name")
    return name
