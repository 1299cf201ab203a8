"""Pure: how nodes notice that their states differ, by fingerprints, and repair the difference."""
