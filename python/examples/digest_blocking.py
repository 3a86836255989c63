"""A helper that answers each message with its SHA-256, without asyncio."""

import hashlib

from ipc_channel.sync import IPCChannelClient, run_helper


def serve(channel: IPCChannelClient) -> None:
    for message in channel:
        channel.write(hashlib.sha256(message).hexdigest().encode())


run_helper(serve)
