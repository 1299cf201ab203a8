"""The same node for programs that are not trio: `threads`, `asyncio`; and `httpx`, which calls services by name."""
