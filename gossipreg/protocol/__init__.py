"""Pure: the protocol of one node as a state machine that connects membership and registry."""
