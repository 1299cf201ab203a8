"""Pure: membership. SWIM with Lifeguard's extensions, and restarts that supersede the past run."""
