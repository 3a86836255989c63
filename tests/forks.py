"""Forked children for tests: what they do, what they hold, and a service that has one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    IPCChannelClient,
    WrongProcessError,
    fork,
)
from raw import PATIENCE, Raw, frame

SERVICE = Path(__file__).with_name("forking_service.py")


def in_child(work: Callable[[], Any]) -> Any:
    """Fork, and return what ``work`` returns in the child, as JSON can carry it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are threads is no matter here
        child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            answer = {"done": work()}
        except BaseException:  # noqa: BLE001  # an assertion, as a rule
            answer = {"failed": traceback.format_exc()}
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        answer = json.load(pipe)
    os.waitpid(child, 0)
    assert "failed" not in answer, answer["failed"]
    return answer["done"]


def held_by_a_child(before: set[str]) -> list[str]:
    """Return what a forked child holds open beyond what we did ``before``."""
    held: list[str] = in_child(lambda: sorted(open_descriptors() - before))
    return [text for text in held if " pipe:" not in text]  # it reports through one


def is_lock_free() -> bool:
    """Whether this thread could open a descriptor now."""
    if free := fork.lock.acquire(blocking=False):
        fork.lock.release()
    return free


def in_a_thread(work: Callable[[], bool]) -> bool:
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    thread.join()
    return done[0]


def drop_in_a_child(held: list[Any]) -> None:
    """Fork, and empty ``held`` in the child, which shares every selector with us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are threads is no matter here
        child = os.fork()
    if child == 0:
        try:
            held.clear()
            gc.collect()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


class Service:
    """A ``forking_service.py``, whose worker lives until :func:`forking_service` ends."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def told(self) -> Any:
        """Return its next line."""
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Have it close its channel, in the orderly way."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "closed\n"


@contextlib.contextmanager
def forking_service(
    transport: str, loop: str, way: str, command: Sequence[str] = ()
) -> Iterator[Service]:
    lifeline, end = os.pipe()
    arguments = (transport, loop, way, str(lifeline), *command)
    process = subprocess.Popen(
        [sys.executable, str(SERVICE), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[lifeline],
    )
    os.close(lifeline)
    with process:
        try:
            yield Service(process)
        finally:
            process.kill()
            os.close(end)


def run(command: Sequence[str]) -> tuple[int, str]:
    """Return the status of a program and what it and its children print."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # children that would hold the pipe
            raise
    return process.returncode, output


def has_ended(process: int, timeout: float) -> bool:
    """Wait for the end of a process, by its pidfd, for at most ``timeout`` seconds."""
    return bool(select.select([process], [], [], timeout)[0])


def ends(process: int) -> bool:
    """Whether a process, by its pidfd, ends."""
    return has_ended(process, PATIENCE)


async def works(ours: IPCChannelClient, peer: Raw) -> None:
    """Send a message each way."""
    await ours.write(b"to the peer")
    assert await asyncio.to_thread(peer.recv_frame) == b"to the peer"
    peer.send(frame(b"from the peer"))
    assert await ours.read() == b"from the peer"


USES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "connect": lambda channel: channel.connect(0),
    "read": lambda channel: channel.read(),
    "write": lambda channel: channel.write(b"x"),
    "disconnect": lambda channel: channel.disconnect(),
    "async with": lambda channel: channel.__aenter__(),
    "async for": lambda channel: channel.__anext__(),
}


def try_in_a_child(channel: Any, uses: Iterable[str] = USES) -> None:
    """Use ``channel`` in a child, in a loop of its own and in none: all must be refused."""

    def work() -> list[str]:
        texts = []
        for name in uses:

            async def attempt(name: str = name) -> None:
                await USES[name](channel)

            with pytest.raises(WrongProcessError) as caught:
                asyncio.run(attempt())
            texts.append(str(caught.value))
            with pytest.raises(WrongProcessError):  # as in the coroutine that forked
                attempt().send(None)
        asyncio.run(channel.close())
        return [*texts, str(os.getpid())]

    *texts, child = in_child(work)
    for text in texts:
        assert (
            f"belongs to process {os.getpid()}, of which process {child} is a fork" in text
        )
        assert "make a channel in each process, after the fork" in text
