"""The TCP balancer: ports that lead to the instances of a service, and follow the registry as it changes."""

from gossipreg.doors.proxy.follow import follow_agent, follow_node
from gossipreg.doors.proxy.metrics import serve_metrics
from gossipreg.doors.proxy.proxy import Proxy
from gossipreg.doors.proxy.settings import Forward

__all__ = ["Forward", "Proxy", "follow_agent", "follow_node", "serve_metrics"]
