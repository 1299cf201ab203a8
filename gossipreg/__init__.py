"""A service registry with no registry server: nodes find each other, watch each other, and gossip what they offer."""
