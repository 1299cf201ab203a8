"""Pure: how word gets around. Gossip first, then fingerprints to notice what it missed, then repair."""
