"""The Consul dialect, mirrored."""
