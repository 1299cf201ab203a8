"""The TCP balancer: ports that lead to the instances of a service, and follow the registry as it changes."""

from gossipreg.frontends.proxy.follow import follow_agent, follow_node
from gossipreg.frontends.proxy.metrics import open_metrics, serve_metrics
from gossipreg.frontends.proxy.ports import Ports
from gossipreg.frontends.proxy.proxy import Proxy
from gossipreg.frontends.proxy.settings import Forward

__all__ = ["Forward", "Ports", "Proxy", "follow_agent", "follow_node", "open_metrics", "serve_metrics"]
