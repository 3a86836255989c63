"""Requests of bytes and of objects, as mypy and pyright see them; a test runs it too.

Each comment "type: ignore" stands where a checker has to complain.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import TYPE_CHECKING, Any, assert_type

from ipc_channel import (
    JSON,
    Codec,
    HelperPool,
    IPCChannelClient,
    RequestChannel,
    make_ipc_channel,
    make_ipc_channel_client,
    serve,
    sync,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclasses.dataclass(frozen=True)
class Question:
    text: str


def encode_question(question: Question) -> bytes:
    return json.dumps(dataclasses.asdict(question)).encode()


def decode_question(data: bytes) -> Question:
    return Question(**json.loads(data))


def encode_number(number: int) -> bytes:
    return b"%d" % number


ASKS = Codec(encode_question, int)
ANSWERS = Codec(encode_number, decode_question)


async def count(question: Question) -> int:
    return len(question.text)


def count_at_once(question: Question) -> int:
    return len(question.text)


async def upper(payload: bytes) -> bytes:
    return payload.upper()


async def ask(client: IPCChannelClient) -> int:
    requests = RequestChannel(client, codec=ASKS)
    assert_type(requests, RequestChannel[Question, int])
    return assert_type(await requests.call(Question("how many")), int)


async def main() -> int:
    server = make_ipc_channel(transport="tcp")
    client = make_ipc_channel_client(server.out_path, server.in_path)
    try:
        await asyncio.gather(server.connect(), client.connect())
        serving = asyncio.create_task(serve(server, count, codec=ANSWERS))
        answer = await ask(client)
        serving.cancel()
        return answer
    finally:
        await asyncio.gather(client.close(), server.close())


async def bytes_and_json(channel: IPCChannelClient) -> None:
    """Without a codec all is bytes, and JSON takes and gives anything."""
    plain = RequestChannel(channel)
    assert_type(plain, RequestChannel[Buffer, bytes])
    assert_type(plain, RequestChannel)
    assert_type(await plain.call(bytearray(b"x")), bytes)
    await plain.call("x")  # type: ignore[arg-type]
    await plain.serve(upper)
    await plain.serve(count)  # type: ignore[arg-type]
    await serve(channel, upper)
    await serve(channel, count)  # type: ignore[arg-type]
    anything = RequestChannel(channel, codec=JSON)
    assert_type(await anything.call({"x": [1]}), Any)


async def objects(channel: IPCChannelClient) -> None:
    asks = RequestChannel(channel, codec=ASKS)
    await asks.call("x")  # type: ignore[arg-type]
    await asks.serve(count)  # type: ignore[arg-type]
    answers = RequestChannel(channel, codec=ANSWERS)
    await answers.serve(count)
    await answers.serve(count_at_once)
    await serve(channel, upper, codec=ANSWERS)  # type: ignore[arg-type]


async def pools() -> None:
    plain = HelperPool(["./helper"])
    assert_type(await plain.call(b"x"), bytes)
    asking = HelperPool(["./helper"], codec=ASKS)
    assert_type(await asking.call(Question("x")), int)
    await asking.call(b"x")  # type: ignore[arg-type]
    async for answer in asking.map([Question("x")]):
        assert_type(answer, int)
    async for either in asking.map([Question("x")], return_exceptions=True):
        assert_type(either, int | Exception)


def blocking(channel: sync.IPCChannelClient) -> None:
    assert_type(sync.RequestChannel(channel).call(b"x"), bytes)
    asks = sync.RequestChannel(channel, codec=ASKS)
    assert_type(asks.call(Question("x")), int)
    asking = sync.HelperPool(["./helper"], codec=ASKS)
    assert_type(asking.call(Question("x")), int)
    assert_type(next(asking.map([Question("x")])), int)
    assert_type(next(asking.map([Question("x")], return_exceptions=True)), int | Exception)
    assert_type(sync.HelperPool(["./helper"]).call(b"x"), bytes)
    sync.serve(channel, bytes.upper)
    sync.serve(channel, count_at_once, codec=ANSWERS)
    sync.serve(channel, count_at_once)  # type: ignore[arg-type]
    sync.serve(channel, count, codec=ANSWERS)  # type: ignore[arg-type]


if __name__ == "__main__":
    print(asyncio.run(main()))
