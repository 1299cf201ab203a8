"""Published experiments, run again on the simulator, with the papers' values beside what comes out here."""
