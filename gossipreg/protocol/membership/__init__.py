"""Pure: who is here. SWIM with Lifeguard, and restarts that supersede the past."""
