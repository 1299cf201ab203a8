"""The same node for programs that are not trio."""
