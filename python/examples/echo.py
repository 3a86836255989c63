"""A helper that sends every message back: the smallest whole client."""

import asyncio
import sys

from ipc_channel import EndReason, from_environment, make_ipc_channel_client


async def main() -> None:
    channel = make_ipc_channel_client(*from_environment())
    async with channel:
        async for message in channel:
            await channel.write(message)
    if channel.end_reason not in (EndReason.CLEAN, EndReason.EOF):
        sys.exit(f"the channel ended: {channel.end_reason}")


asyncio.run(main())
