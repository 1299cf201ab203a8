"""Netflix's own client, which Spring Cloud builds on, registers, discovers, and goes on when its agent is killed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.peers.eureka.application import is_put_through
from tests.peers.eureka.views import shows
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("mvn") is None or shutil.which("javac") is None,
        reason="a JDK or Maven is not installed (Debian: default-jdk-headless maven)",
    ),
]

VERSION: Final = "1.10.18"

_POM: Final = f"""
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>application</groupId>
  <artifactId>application</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.netflix.eureka</groupId>
      <artifactId>eureka-client</artifactId>
      <version>{VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""

#: What an application does with it: look another one up, and say what it is shown.
_APPLICATION: Final = """
import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.InstanceInfo;
import com.netflix.appinfo.MyDataCenterInstanceConfig;
import com.netflix.appinfo.providers.EurekaConfigBasedInstanceInfoProvider;
import com.netflix.discovery.DefaultEurekaClientConfig;
import com.netflix.discovery.DiscoveryClient;
import java.util.stream.Collectors;

public class Application {
    public static void main(String[] arguments) throws Exception {
        var config = new MyDataCenterInstanceConfig();
        var manager = new ApplicationInfoManager(config, new EurekaConfigBasedInstanceInfoProvider(config).get());
        var client = new DiscoveryClient(manager, new DefaultEurekaClientConfig());
        manager.setInstanceStatus(InstanceInfo.InstanceStatus.UP);
        Runtime.getRuntime().addShutdownHook(new Thread(client::shutdown));
        while (true) {
            var app = client.getApplication("BILLING");
            System.out.println("found " + (app == null ? "" : app.getInstances().stream()
                .map(each -> each.getInstanceId() + " " + each.getStatus() + " " + each.getPort())
                .sorted().collect(Collectors.joining(", "))));
            Thread.sleep(100);
        }
    }
}
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that has the client and what it needs, of Maven's registry."""
    directory = tmp_path_factory.mktemp("maven")
    (directory / "pom.xml").write_text(_POM)
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libraries"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("Maven did not install eureka-client within 180 s")
    if done.returncode != 0:
        pytest.skip(f"Maven cannot install eureka-client: {done.stdout.decode(errors='replace')[-200:]}")
    return directory / "libraries"


async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path, libraries: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await stage.offer(stage.gamma, "one", service="billing")
        places = {
            "127.0.0.1:8500": stage.beta.http,
            "10.0.0.6:8500": stage.alpha.http,
            "lease.renewalInterval=5": "lease.renewalInterval=1",
            "lease.duration=15": "lease.duration=3",
            "client.refresh.interval=5": "client.refresh.interval=1",
        }
        (tmp_path / "eureka-client.properties").write_text(adapted(written("clients/eureka.md", "properties"), places))
        program, log = tmp_path / "Application.java", tmp_path / "application.log"
        program.write_text(_APPLICATION)

        async def finds(name: str) -> None:
            found = [line.removeprefix("found ") for line in log.read_text().splitlines() if line[:6] == "found "]
            assert found
            assert found[-1] == f"{name} UP {stage.ports[name]}"

        async with running(log, "java", "-cp", f"{tmp_path}:{libraries}/*", program):
            seconds = await is_put_through(stage, "orders-1", finds)
        await shows(stage.alpha, "ORDERS", {})
    did = (
        "registers, renews and discovers by deltas; its agent killed, it registers with the next one; cancels its lease"
    )
    record(
        client="Netflix eureka-client",
        version=VERSION,
        api="Eureka",
        did=did,
        weights="taken from its metadata",
        seconds=seconds,
    )
