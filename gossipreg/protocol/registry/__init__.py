"""Pure: the registry. Records and their versions, how copies are compared, policies, terms and the view."""
