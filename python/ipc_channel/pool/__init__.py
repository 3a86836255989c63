"""Helpers that share work: which one gets a call, and what happens when one is lost."""
