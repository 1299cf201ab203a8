"""Other regions: services of other clusters, followed at their agents' HTTP API."""
