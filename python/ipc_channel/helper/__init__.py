"""Helper processes: starting them, connecting to them, and ending them."""
