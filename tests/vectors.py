"""The test vectors of the specification, read as the conformance suite reads them."""

from pathlib import Path

from ipc_channel.conformance.vectors import load, to_bytes, to_messages

__all__ = ["DIRECTORY", "load", "to_bytes", "to_messages"]

DIRECTORY = Path(__file__).parents[1] / "spec" / "vectors"
