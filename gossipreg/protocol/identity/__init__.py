"""Identity: what members sign, and how it is verified."""
