"""What the frontends share: the HTTP server, requests, responses, the router, the cache, and the node's interface."""
