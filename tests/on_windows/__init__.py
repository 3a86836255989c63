"""The tests on Windows, or under Wine on Linux: ``nox -s windows``."""
