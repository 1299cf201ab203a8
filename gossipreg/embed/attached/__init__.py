"""The node of a process that is no member: it is attached to its host's agent by one stream."""
