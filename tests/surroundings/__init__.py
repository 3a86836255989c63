"""The fast tests in other surroundings than a developer's terminal: ``nox -s surroundings``."""
