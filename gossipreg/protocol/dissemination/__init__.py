"""Pure: how updates are broadcast: a queue of messages to transmit, and the window in which they are batched."""
