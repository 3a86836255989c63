"""A helper that answers JSON-RPC 2.0, with the library jsonrpcserver."""

from jsonrpcserver import Result, Success, async_dispatch, method

from ipc_channel import IPCChannelClient, run_helper


@method
async def add(a: float, b: float) -> Result:
    return Success(a + b)


async def main(channel: IPCChannelClient) -> None:
    async for message in channel:
        if answer := await async_dispatch(message.decode()):  # a notification has none
            await channel.write(answer.encode())


run_helper(main)
