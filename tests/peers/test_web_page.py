"""The web page in a real browser: it shows a cluster that changes, and hostile instances can do nothing to it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.drills.agents import Agent, fixed_address, key_file, open_agents
from tests.drills.asking import ask
from tests.drills.waiting import eventually
from tests.peers.browser import Browser, install_browser, needs_chromium, open_browser
from tests.peers.npm import needs_node
from tests.peers.stage import adapted, running, written
from tests.peers.test_nginx import CONFIG

pytestmark = [pytest.mark.peer, needs_node, needs_chromium]

HOSTILE: Final = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>\u202e"

READER, OPERATOR = "a-token-that-reads", "a-token-that-may-do-all"

TOKENS: Final = f"""
[[tokens]]
name = "viewer"
token = "{READER}"
scopes = ["read"]

[[tokens]]
name = "oncall"
token = "{OPERATOR}"
scopes = ["read", "write", "checks", "operator"]
"""


def quoted(text: str) -> str:
    return quote(text, safe="")


async def put(agent: Agent, path: str, document: Any = None) -> None:
    answer = await ask(agent.http, "PUT", path, document)
    assert answer.status < 300, answer


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_browser(tmp_path_factory.mktemp("npm"))


async def show(browser: Browser, agent: Agent, place: str) -> None:
    """Open a place of the agent's page, as if it were followed from nowhere."""
    await browser.run(f"await page.goto('about:blank'); await page.goto('http://{agent.http}/ui/{place}')")


async def test_the_page_shows_what_is_wrong_as_it_happens(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha")
        beta = await agents.start("beta", join=[alpha])
        await agents.agree([alpha, beta])
        await alpha.register("orders", 8080, id="o-1", tags=["v1"], weight=10)
        await beta.register("orders", 8081, id="o-2", zone="south")

        await show(browser, alpha, "")
        await browser.sees("All is well: 2 members alive, 1 service with 2 instances.", "live")
        await beta.register("users", 9000, id="u-1", checks=[{"ttl": "1h"}])
        await browser.sees("users has no instance that can serve", "not checked yet")
        await beta.kill()
        await browser.sees("Member beta has failed", "gossipreg forget beta", "orders: 1 of 2 instances can serve")
        assert await browser.run("return page.title()") == "(3) Overview · alpha"
        assert await browser.serious() == []

        # From the overview to the cause, by keyboard only.
        await browser.run(
            "await page.getByRole('link', { name: /orders: 1 of 2/ }).focus(); await page.keyboard.press('Enter')"
        )
        await browser.sees("its owner beta has failed", "1 of 2 can serve")
        await browser.run("await page.keyboard.press('/'); await page.keyboard.type('owner:beta')")
        await browser.sees("1 of 2 instances")
        assert "q=owner:beta" in await browser.run("return page.url()")
        assert await browser.serious() == []
        await show(browser, alpha, "#/service/orders?instance=alpha/o-1")
        await browser.sees("It has no checks")
        await put(alpha, "policies", {"service": "orders", "instance": "o-1", "weight": 3})
        await browser.sees("3 (10 set; policy weight:orders:o-1)", "o-1 of alpha: weight 10 → 3")
        assert await browser.serious() == []
        await show(browser, alpha, "#/members")
        await browser.sees("failed", "this agent")
        assert await browser.serious() == []

        # Narrow: nothing is wider than the screen.
        await browser.run("await page.setViewportSize({ width: 360, height: 740 })")
        for place in ("", "#/services", "#/service/orders?instance=alpha/o-1", "#/members"):
            await show(browser, alpha, place)
            await browser.sees("live")
            wide = "return page.evaluate('document.documentElement.scrollWidth - innerWidth')"
            assert await browser.run(wide) <= 0, place
        for scheme in ("dark", "light"):
            await browser.run(f"await page.emulateMedia({{ colorScheme: '{scheme}' }})")
            await show(browser, alpha, "#/services")
            await browser.sees("None healthy", "1 critical")
            assert await browser.serious() == []

        # The agent goes and returns: the page says so, and takes the whole state anew.
        await alpha.kill()
        await browser.sees("Not connected since")
        returned = await agents.start("alpha", "--http", alpha.http)
        await returned.register("news", 8088, id="n-1")
        await browser.run("await page.getByRole('button', { name: 'Try now' }).click().catch(() => {})")
        await browser.sees("news")
        assert await browser.run("return page.getByText('orders').count()") == 0
        assert not [each for each in await browser.complaints() if "Failed to load resource" not in each]


async def test_the_state_of_an_agent_that_is_gone_stands_still_and_it_is_asked_ever_more_rarely(
    tmp_path: Path, modules: Path
) -> None:
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha")
        await alpha.register("orders", 8080, id="o-1")
        await show(browser, alpha, "")
        await browser.sees("All is well", "live")
        await browser.run("globalThis.asked = []; page.on('request', (each) => globalThis.asked.push(each.url()))")
        alpha.stop()
        await browser.sees("Not connected since", "the agent does not answer in time", "Known last: 1 member alive")
        alpha.resume()
        await browser.sees("live", "All is well")
        await alpha.kill()
        await browser.sees("Not connected since", "Known last: 1 member alive, 1 service with 1 instance.")
        assert await browser.run("return page.title()") == "✖ Overview · alpha"
        assert await browser.serious() == []
        await browser.run("await page.getByRole('link', { name: 'Members' }).click(); globalThis.asked.length = 0")
        since = "return page.locator('.rows .since').first().innerText()"
        aged = await browser.run(since)
        await trio.sleep(12)
        asked = await browser.run("return globalThis.asked")
        assert len(asked) <= 6
        assert all(each.endswith("/events?all") for each in asked)
        assert await browser.run(since) == aged
        await browser.run("globalThis.asked.length = 0; await page.evaluate(\"dispatchEvent(new Event('online'))\")")
        assert len(await browser.run("await page.waitForTimeout(100); return globalThis.asked")) >= 1


async def test_texts_of_instances_stay_texts(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha")
        name = "<script>document.title='taken'</script>"
        await alpha.register(
            "orders", 80, id=name, tags=[HOSTILE[:60], "x" * 60], meta={HOSTILE[:50]: HOSTILE}, checks=[{"ttl": "1h"}]
        )
        note = {"health": "critical", "note": HOSTILE}
        query = "&".join(f"{key}={quoted(value)}" for key, value in note.items())
        await put(alpha, f"heartbeats/{quoted(name)}?{query}")
        for place in ("", "#/services", "#/service/orders", f"#/service/orders?instance=alpha/{quoted(name)}"):
            await show(browser, alpha, place)
            await browser.sees("live")
            await browser.run("await page.getByText('onerror').first().waitFor()")
            assert "taken" not in await browser.run("return page.title()")
            counts = "return page.locator('main img, main script, main [onerror]').count()"
            assert await browser.run(counts) == 0
        assert await browser.complaints() == [], "its policy had nothing to stop"
        shown = await browser.run("return page.locator('main').innerText()")
        assert "\\u202e" in shown
        assert "\u202e" not in shown


async def test_a_token_is_asked_for_and_kept_in_memory_only(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha", "--tokens-file", str(tokens))
        await show(browser, alpha, "#/services")
        await browser.sees("This agent asks for a token")
        assert await browser.serious() == []
        await browser.run("await page.keyboard.type('a-token-that-is-unknown'); await page.keyboard.press('Enter')")
        await browser.sees("The agent does not know this token.")
        await browser.run(f"await page.keyboard.type('{READER}'); await page.keyboard.press('Enter')")
        await browser.sees("live", "0 services")
        kept = "return page.evaluate('JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])')"
        assert READER not in await browser.run(kept)
        await browser.run("await page.reload()")
        await browser.sees("This agent asks for a token")


async def test_actions_are_confirmed_shown_as_commands_and_taken_back(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha")
        beta = await agents.start("beta", "--tokens-file", str(tokens), join=[alpha])
        await alpha.register("orders", 8080, id="o-1", weight=10)

        # A reader sees no action; the operator sees those of the token's scopes.
        await show(browser, beta, "#/service/orders?instance=alpha/o-1")
        await browser.sees("This agent asks for a token")
        await browser.run(f"await page.keyboard.type('{READER}'); await page.keyboard.press('Enter')")
        await browser.sees("If it has checks, alpha runs them")
        assert await browser.run("return page.locator('.actions button').count()") == 0
        await browser.run("await page.getByRole('button', { name: 'Token' }).click()")
        await browser.run(f"await page.keyboard.type('{OPERATOR}'); await page.keyboard.press('Enter')")

        await press(browser, "Weight", within=".actions")
        await browser.run("await page.getByLabel('Weight, 0').fill('3')")
        await browser.sees("gossipreg weight o-1 3 --service orders --owner alpha", "PUT /api/v1/policies")
        assert await browser.serious() == []
        await press(browser, "Weight", within="dialog")
        await browser.sees("Done: Change the weight of o-1.", "3 (10 set; policy weight:orders@alpha:o-1)")
        await press(browser, "Undo")
        await weighs(alpha, 10)

        await press(browser, "Maintenance")
        await browser.run("await page.getByLabel('Reason').fill('new disk')")
        await browser.sees("gossipreg policy set orders --instance o-1 --owner alpha --maintenance 'new disk'")
        await press(browser, "Maintenance", within="dialog")
        await browser.sees("new disk", "0 of 1 can serve")
        await browser.run("await page.getByRole('link', { name: 'Policies' }).click()")
        await browser.sees("out: new disk", "beta")
        assert await browser.serious() == []
        await press(browser, "Remove")
        await press(browser, "Remove", within="dialog")
        await browser.sees("No policy is in force.")
        await weighs(alpha, 10)

        await alpha.register("orders", 8080, id="o-1", weight=10, tags=["v1", "v2"])
        await show(browser, alpha, "#/service/orders?instance=alpha/o-1")
        await browser.run("await page.getByText('Split the load').click(); await page.locator('.border').focus()")
        await browser.run("for (let step = 0; step < 3; step++) await page.keyboard.press('PageUp')")
        await press(browser, "Set the split …")
        await browser.sees("gossipreg policy set orders --split v1=80 --split v2=20")
        assert await browser.serious() == []
        await press(browser, "Set the split", within="dialog")
        await browser.sees("Done: Split the load of orders.")
        assert (await alpha.get("policies"))["policies"][0]["shares"] == {"v1": 80, "v2": 20}
        await press(browser, "Undo")

        await press(browser, "Deregister")
        await press(browser, "Cancel")
        assert await alpha.ids("orders") == {"o-1"}
        await press(browser, "Deregister")
        await press(browser, "Deregister", within="dialog")
        await browser.sees("No instance of orders is known to this agent.")

        await beta.kill()
        await show(browser, alpha, "#/members")
        await press(browser, "Forget")
        await browser.sees("gossipreg forget beta")
        await press(browser, "Forget", within="dialog")
        await browser.sees("Done: Forget beta.", "1 of 2 members")


async def test_a_hundred_picks_show_how_a_caller_would_choose(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha")
        await alpha.register("orders", 8080, id="o-1", weight=3, zone="north", tags=["v1"])
        await alpha.register("orders", 8081, id="o-2", weight=1, zone="south", tags=["v2"])
        await alpha.register("orders", 8082, id="o-3", checks=[{"ttl": "1h"}])
        await show(browser, alpha, "#/service/orders")
        await browser.run(
            "const title = page.locator('.picks summary'); await title.waitFor();"
            "await title.focus(); await page.keyboard.press('Enter')"
        )
        await browser.sees("100 calls went to 2 instances.", "Not called: 1 instance critical.")
        assert await browser.serious() == []
        await browser.run("await page.getByLabel('Strategy').selectOption('round-robin')")
        await browser.sees("75 / 100", "25 / 100")
        await browser.run("await page.getByLabel('Zone of the caller').selectOption('south')")
        await browser.sees("100 / 100", "1 instance in another zone")
        await browser.run("await page.getByLabel('Tag', { exact: true }).selectOption('v1')")
        await browser.sees("1 instance with another tag or role")
        await browser.run("await page.setViewportSize({ width: 360, height: 740 })")
        wide = "return page.evaluate('document.documentElement.scrollWidth - innerWidth')"
        assert await browser.run(wide) <= 0
        assert await browser.complaints() == []


async def test_cells_are_shown_and_one_that_is_not_heard_any_more(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha", "--cell", "room-1")
        beta = await agents.start("beta", "--cell", "room-2", join=[alpha])
        await show(browser, alpha, "#/access")
        await browser.sees("room-1", "its own", "room-2", "connected")
        assert await browser.serious() == []
        await beta.kill()
        await browser.sees("nothing was heard of its cell room-2 since")
        await browser.run("await page.setViewportSize({ width: 360, height: 740 })")
        wide = "return page.evaluate('document.documentElement.scrollWidth - innerWidth')"
        assert await browser.run(wide) <= 0
        await show(browser, alpha, "")
        await browser.sees("the cell room-2 was last heard", "None of its members answers the relays of this cell")
        assert await browser.complaints() == []


async def test_keys_tokens_and_regions_are_shown_to_a_token_that_is_for_them(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(TOKENS)
    tokens.chmod(0o600)
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha", "--tokens-file", str(tokens), "--key-file", key_file(tmp_path, "key"))
        await show(browser, alpha, "#/access")
        await browser.sees("This agent asks for a token")
        await browser.run(f"await page.keyboard.type('{READER}'); await page.keyboard.press('Enter')")
        await browser.sees("This is for a token with the scope operator.", "This agent follows no other region")
        await browser.sees("This cluster has no cells")
        await browser.run("await page.getByRole('button', { name: 'Token' }).click()")
        await browser.run(f"await page.keyboard.type('{OPERATOR}'); await page.keyboard.press('Enter')")
        await browser.sees("Gossip is sealed.", "primary", "oncall", "this agent's file", "accepted")
        assert await browser.serious() == []
        await browser.run("await page.setViewportSize({ width: 360, height: 740 })")
        wide = "return page.evaluate('document.documentElement.scrollWidth - innerWidth')"
        assert await browser.run(wide) <= 0


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed (Debian: nginx-light)")
async def test_it_works_behind_a_path_and_under_tls_as_the_page_of_the_docs_says(tmp_path: Path, modules: Path) -> None:
    (tmp_path / "agents").mkdir()
    front = fixed_address()
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha")
        location = adapted(written("web.md", "nginx"), {"127.0.0.1:8500": alpha.http})
        write_certificate(tmp_path)
        files = f"ssl_certificate {tmp_path}/cert.pem; ssl_certificate_key {tmp_path}/key.pem;"
        (tmp_path / "site").write_text(f"server {{ listen {front} ssl; {files} {location} }}")
        (tmp_path / "conf.d").mkdir()
        (tmp_path / "nginx.conf").write_text(CONFIG.format(here=tmp_path))
        async with running(tmp_path / "nginx.log", "nginx", "-p", tmp_path, "-c", "nginx.conf"):
            opened = f"page.goto('https://{front}/registry/ui')"
            await browser.run(f"await {opened}.catch(() => page.waitForTimeout(2000)); await {opened}")
            await browser.sees("All is well", "live")
            await alpha.register("orders", 80, id="o-1")
            await browser.run("await page.getByRole('link', { name: 'Members' }).click()")
            await press(browser, "Drain")
            await press(browser, "Drain", within="dialog")
            await browser.sees("Done: Drain alpha.", "draining")
            assert (await alpha.node())["draining"]


def write_certificate(directory: Path) -> None:
    """A key and a certificate for loopback, which no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    signed = made.sign(key, hashes.SHA256())
    (directory / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (directory / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


async def press(browser: Browser, name: str, within: str = "body") -> None:
    button = f"page.locator('{within}').getByRole('button', {{ name: '{name}', exact: true }})"
    await browser.run(f"await {button}.click()")


async def weighs(agent: Agent, weight: int) -> None:
    async def check() -> None:
        [found] = (await agent.get("services/orders"))["instances"]
        assert found["weight"] == weight

    await eventually(check)


async def test_a_thousand_services_with_ten_thousand_instances_do_not_freeze_it(tmp_path: Path, modules: Path) -> None:
    """Few rows are elements, whatever is known. No time is asserted: a loaded machine may take any."""
    (tmp_path / "agents").mkdir()
    instance = {
        "host": "10.0.0.1",
        "port": 80,
        "tags": ["v1"],
        "meta": {"k": "v"},
        "weight": 1,
        "role": None,
        "term": 0,
    }
    instance |= {"zone": "north", "health": "passing", "reason": "", "sealed": False, "stale": False, "owner": "alpha"}
    every = [instance | {"id": f"i-{n}", "service": f"s-{n % 1000}"} for n in range(10_000)]
    stream = f"event: snapshot\ndata: {json.dumps({'members': [], 'instances': every})}\n\n"
    (tmp_path / "stream.txt").write_text(stream)
    async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
        alpha = await agents.start("alpha")
        answer = f"{{ path: {str(tmp_path / 'stream.txt')!r}, contentType: 'text/event-stream' }}"
        await browser.run(f"await page.route('**/api/v1/events?all', (route) => route.fulfill({answer}))")
        await show(browser, alpha, "#/services")
        await browser.sees("1\u2009000 services")
        rows = "return page.locator('.rows .row').count()"
        assert await browser.run(rows) < 100
        await browser.run("await page.keyboard.press('/'); await page.keyboard.type('s-77 tag:v1')")
        await browser.sees("11 of 1\u2009000 services")
        await browser.run("await page.getByRole('searchbox').fill(''); await page.evaluate('scrollTo(0, 1e6)')")

        async def at_the_end() -> None:
            assert await browser.run("return page.locator('.rows .row').last().getAttribute('aria-rowindex')") == "1001"

        await eventually(at_the_end)
        assert await browser.run(rows) < 100
