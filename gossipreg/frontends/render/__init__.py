"""Files rendered from templates: how whatever reads a configuration file follows the registry."""
