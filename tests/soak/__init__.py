"""Kills of helpers and services at random moments, for minutes or hours: ``nox -s soak``."""
