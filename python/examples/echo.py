"""A helper that sends every message back: the smallest whole client."""

from ipc_channel import IPCChannelClient, run_helper


async def echo(channel: IPCChannelClient) -> None:
    async for message in channel:
        await channel.write(message)


run_helper(echo)
