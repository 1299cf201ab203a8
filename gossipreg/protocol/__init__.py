"""Pure: one state machine that marries who is here (membership) and what they offer (registry)."""
