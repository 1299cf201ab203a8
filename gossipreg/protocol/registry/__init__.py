"""Pure: what the members offer. Records, their versions, how copies are compared and mended, and the view."""
