"""Each client echoes messages of every size to the Python channel."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
import pytest_asyncio

from ipc_channel import ENV_IN, ENV_OUT, Helper, IPCChannel, make_ipc_channel

SIZES = [1, 2, 4092, 4096, *range(65531, 65538), 2**20, 5 * 2**20]


@pytest_asyncio.fixture(params=["named_pipe", "tcp"])
async def helper(
    request: pytest.FixtureRequest, command: list[str]
) -> AsyncIterator[Helper]:
    """Start the client; afterwards it must end by itself, and well."""
    helper = Helper(command, make_ipc_channel(transport=request.param), grace=30)
    async with helper:
        yield helper
    assert helper.process.returncode == 0


async def echoes(channel: IPCChannel, messages: list[bytes]) -> bool:
    """Send all messages at once; return whether all came back, in order."""

    async def send() -> None:
        for message in messages:
            await channel.write(message)

    sending = asyncio.create_task(send())
    answers = [await channel.read() for _ in messages]
    await sending
    return answers == messages


@pytest.mark.parametrize("size", SIZES)
async def test_one_message(helper: Helper, size: int) -> None:
    message = random.Random(size).randbytes(size)
    assert await echoes(helper.channel, [message])


async def test_all_byte_values(helper: Helper) -> None:
    assert await echoes(helper.channel, [bytes(range(256)), b"\0", b"\0\0\0\0"])


async def test_messages_of_mixed_sizes(helper: Helper) -> None:
    source = random.Random(1)
    messages = [source.randbytes(source.choice([1, 64, 5000, 70000])) for _ in range(2000)]
    assert await echoes(helper.channel, messages)


async def test_large_messages_both_ways_at_once(helper: Helper) -> None:
    source = random.Random(2)
    assert await echoes(helper.channel, [source.randbytes(5 * 2**20) for _ in range(4)])


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_hundred_thousand_messages_each_way_at_once(helper: Helper) -> None:
    source = random.Random(3)
    sizes = [1, 16, 64, 64, 64, 500, 500, 4096]

    def digest(messages: Iterable[bytes]) -> str:
        return hashlib.sha256(b"".join(map(encode_frame, messages))).hexdigest()

    sent = [source.randbytes(source.choice(sizes)) for _ in range(100_000)]
    for position in range(0, 100_000, 10_000):
        sent[position] = source.randbytes(300_000)
    got: list[bytes] = []

    async def send() -> None:
        for message in sent:
            await helper.channel.write(message)

    async def receive() -> None:
        while len(got) < len(sent):
            got.append(await helper.channel.read() or b"")

    await asyncio.gather(send(), receive())
    assert digest(got) == digest(sent)


@pytest.mark.covers("RDV-36")
@pytest.mark.parametrize("name", [b"\xfcber", "\N{SNOWMAN}".encode(), b" \n'\"$x"])
async def test_any_bytes_in_a_path(
    command: list[str], name: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(directory)
    monkeypatch.setattr(tempfile, "tempdir", os.fsdecode(directory))
    helper = Helper(command, make_ipc_channel(transport="named_pipe"))
    async with helper as channel:
        assert await echoes(channel, [b"there"])
    assert os.listdir(directory) == []


async def test_strings_that_are_not_crossed(command: list[str]) -> None:
    """It ends at once, and says why."""
    server = make_ipc_channel(transport="named_pipe")
    connecting = asyncio.create_task(server.connect(60))
    told = {ENV_IN: server.in_path, ENV_OUT: server.out_path}
    helper = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | told,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, errors = await helper.communicate()
    assert helper.returncode != 0
    assert b"swapped" in errors
    assert b"timeout" not in errors
    assert not connecting.done()
    await server.close()
    assert not await connecting


def encode_frame(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message
