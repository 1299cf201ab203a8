"""The protocol on trio: one socket, one listener, one clock, and the node that programs hold."""
