"""A helper that answers each message with its SHA-256, as 64 hexadecimal digits."""

import asyncio
import hashlib
import sys

from ipc_channel import EndReason, from_environment, make_ipc_channel_client


async def main() -> None:
    channel = make_ipc_channel_client(*from_environment())
    async with channel:
        async for message in channel:
            await channel.write(hashlib.sha256(message).hexdigest().encode())
    if channel.end_reason not in (EndReason.CLEAN, EndReason.EOF):
        sys.exit(f"the channel ended: {channel.end_reason}")


asyncio.run(main())
