"""What the frontends share: requests, responses, routes and caches."""
