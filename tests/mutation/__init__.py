"""Mutation testing of the protocol: small changes to its code, one at a time, that some test must detect."""
