"""What becomes of the connections of a port for one role when the role moves."""

from __future__ import annotations

import attrs

from tests.frontends.proxy.callers import ends, held
from tests.frontends.proxy.conftest import Stage, call, until
from tests.frontends.proxy.making import added, removed


async def test_connections_to_a_former_primary_are_cut_when_it_says_that_it_is_none(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600)
    async with await held(proxy, address) as stream:
        proxy.apply([added(attrs.evolve(old, role="replica"))])
        assert await ends(stream) == "reset"
    await until(lambda: proxy.counters["drained"] == 1)


async def test_connections_to_a_lost_primary_go_on_until_there_is_another(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600)
    async with await held(proxy, address) as stream:
        proxy.apply([removed(old)])
        await stream.send_all(b"y")
        assert await stream.receive_some() == b"y"
        proxy.apply([added(await stage.instance("b", role="primary", term=2))])
        assert await ends(stream) == "reset"


async def test_a_primary_that_is_drained_has_taken_the_role_all_the_same(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600)
    async with await held(proxy, address) as stream:
        drained = await stage.instance("b", role="primary", term=2, weight=0)
        proxy.apply([removed(old), added(drained)])
        assert await ends(stream) == "reset"


async def test_a_former_primary_is_not_used_in_panic_either(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600, panic=True)
    async with await held(proxy, address) as stream:
        proxy.apply([added(attrs.evolve(old, role="replica"))])
        assert await ends(stream) == "reset"
        assert await call(address) == ""


async def test_connections_to_a_former_primary_drain_where_that_is_asked_for(stage: Stage) -> None:
    old = await stage.instance("a", role="primary", term=1)
    proxy, address = await stage.proxy(old, role="primary", drain_time=3600, superseded="drain")
    stream = await held(proxy, address)
    proxy.apply([added(attrs.evolve(old, role="replica")), added(await stage.instance("b", role="primary", term=2))])
    await stream.send_all(b"y")
    assert await stream.receive_some() == b"y"
    await stream.aclose()


async def test_connections_to_an_instance_of_a_role_that_several_have_drain_when_it_goes(stage: Stage) -> None:
    gone, other = await stage.instance("a", role="replica"), await stage.instance("b", role="replica", weight=0)
    proxy, address = await stage.proxy(gone, other, role="replica", drain_time=3600, superseded="cut")
    async with await held(proxy, address) as stream:
        proxy.apply([removed(gone)])
        await stream.send_all(b"y")
        assert await stream.receive_some() == b"y"


async def test_connections_to_an_instance_that_has_another_role_now_are_cut_though_several_have_it(
    stage: Stage,
) -> None:
    changed, other = await stage.instance("a", role="replica"), await stage.instance("b", role="replica", weight=0)
    proxy, address = await stage.proxy(changed, other, role="replica", drain_time=3600, superseded="cut")
    async with await held(proxy, address) as stream:
        proxy.apply([added(attrs.evolve(changed, role="primary"))])
        assert await ends(stream) == "reset"
