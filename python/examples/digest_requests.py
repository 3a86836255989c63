"""A helper that answers each request with the SHA-256 of its payload, as 64 digits."""

import hashlib

from ipc_channel import IPCChannelClient, run_helper, serve


def digest(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode()


async def main(channel: IPCChannelClient) -> None:
    await serve(channel, digest)


run_helper(main)
