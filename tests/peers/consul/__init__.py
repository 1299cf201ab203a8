"""What real clients of Consul's make of an agent."""
