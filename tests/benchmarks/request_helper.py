"""A helper that sends requests back: ``python -m benchmarks.request_helper KIND [ADDRESS]``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from ipc_channel import IPCChannelClient, run_helper, serve


def echo(payload: bytes) -> bytes:
    return payload


async def answer(channel: IPCChannelClient) -> None:
    await serve(channel, echo)


async def repeat(channel: IPCChannelClient) -> None:
    async for message in channel:
        await channel.write(message)


async def serve_grpc(address: str) -> None:
    """Serve until stdin ends."""
    import grpc  # noqa: PLC0415  # the other kinds do without

    async def unary(request: bytes, context: Any) -> bytes:
        del context
        return echo(request)

    server = grpc.aio.server()
    handlers = {"echo": grpc.unary_unary_rpc_method_handler(unary)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("b", handlers),))
    server.add_insecure_port(address)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


def serve_json() -> None:
    """Answer JSON-RPC, a line a message, which is the least that a service can do."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        reply = {"jsonrpc": "2.0", "id": request["id"], "result": request["params"][0]}
        sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
        sys.stdout.buffer.flush()


def main() -> None:
    kind, *address = sys.argv[1:]
    if kind == "grpc":
        asyncio.run(serve_grpc(*address))
    elif kind == "json":
        serve_json()
    else:
        run_helper({"requests": answer, "messages": repeat}[kind])


if __name__ == "__main__":
    main()
