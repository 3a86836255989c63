"""A blocking helper that answers each request with its SHA-256, in two threads."""

from __future__ import annotations

import hashlib

from ipc_channel.sync import IPCChannelClient, run_helper, serve


def digest(payload: bytes) -> bytes:
    """Return the digest as 64 hexadecimal digits."""
    return hashlib.sha256(payload).hexdigest().encode("ascii")


def main(channel: IPCChannelClient) -> None:
    """Answer until the session ends."""
    serve(channel, digest, concurrency=2)


run_helper(main)
