"""Reproductions of published experiments on the simulator, with the papers' values beside ours."""
