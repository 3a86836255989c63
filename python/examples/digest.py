"""A helper that answers each message with its SHA-256, as 64 hexadecimal digits."""

import hashlib

from ipc_channel import IPCChannelClient, run_helper


async def serve(channel: IPCChannelClient) -> None:
    async for message in channel:
        await channel.write(hashlib.sha256(message).hexdigest().encode())


run_helper(serve)
