"""Helper processes: starting one, meeting it, and ending it."""
