"""The simulator's cluster and the production driver, given the same scene, come to believe the same things."""
