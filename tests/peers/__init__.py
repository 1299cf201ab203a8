"""What real programs make of an agent: each is skipped, with its name, where it is not installed."""
