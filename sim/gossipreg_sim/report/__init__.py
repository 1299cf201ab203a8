"""What people see of a run: a recording of it, the page and the plots drawn from it, and answers to why."""
