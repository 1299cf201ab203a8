"""What people see of a play: a recording of it, the page and the plots drawn from it, and answers to why."""
