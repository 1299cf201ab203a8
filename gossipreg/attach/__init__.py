"""The protocol between an attached process and its host's agent: frames, and the values in them. Both sides use it."""
