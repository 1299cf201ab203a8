"""The Consul API, mirrored."""
