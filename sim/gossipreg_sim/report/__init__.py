"""Reports of a run: its recording, the HTML page and the plots drawn from it, and explanations of beliefs."""
