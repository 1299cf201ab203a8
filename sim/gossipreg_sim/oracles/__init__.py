"""What must hold, one class each. Oracles see the truth that no node can see."""
