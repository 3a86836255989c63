"""A helper that sends every message back, without asyncio."""

from ipc_channel.sync import IPCChannelClient, run_helper


def echo(channel: IPCChannelClient) -> None:
    for message in channel:
        channel.write(message)


run_helper(echo)
