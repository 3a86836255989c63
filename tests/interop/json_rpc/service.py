"""A service that asks a helper by JSON-RPC 2.0, with the library jsonrpcclient.

A message of the channel is a message of JSON-RPC, which has ids of its own. The helpers
beside this file are in Python, Go and Node, each with a library of its language::

    python service.py python helper.py
"""

import asyncio
import sys

from jsonrpcclient import Error, Ok, notification_json, parse_json, request_json

from ipc_channel import Helper, IPCChannel


async def call(channel: IPCChannel, method: str, **params: object) -> Ok | Error:
    await channel.write(request_json(method, params=params).encode())
    answer = await channel.read()
    if answer is None:
        raise EOFError("the helper has ended before it answered")
    result: Ok | Error = parse_json(answer.decode())
    return result


async def main(command: list[str]) -> None:
    async with Helper(command) as channel:
        await channel.write(notification_json("add", params={"a": 0, "b": 0}).encode())
        for method in ("add", "subtract"):
            result = await call(channel, method, a=1, b=2)
            print(result.result if isinstance(result, Ok) else result.code)


if len(sys.argv) < 2:
    sys.exit("usage: python service.py HELPER [ARGUMENT...]")
asyncio.run(main(sys.argv[1:]))
