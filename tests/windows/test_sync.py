"""Blocking channels on Windows, over TCP: both ends, threads, and a helper."""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path

import pytest

if sys.platform != "win32":
    pytest.skip("needs Windows: nox -s windows runs it", allow_module_level=True)

import windows_programs
from blocking_pair import pair
from ipc_channel.sync import CallTimeoutError, Helper

EXAMPLES = Path(__file__).parents[2] / "python" / "examples"


def test_messages_both_ways() -> None:
    server, client = pair()
    with server, client:
        for size in (1, 5000, 70_000, 3_000_000):
            message = bytes([size % 256]) * size
            writing = threading.Thread(target=client.write, args=[message])
            writing.start()
            assert server.read(windows_programs.PATIENCE) == message
            writing.join()
            client.write_many([b"a", b"b"])
            assert [server.read(), server.read()] == [b"a", b"b"]


def test_a_read_times_out_and_loses_nothing() -> None:
    server, client = pair()
    with server, client:
        with pytest.raises(CallTimeoutError):
            server.read(timeout=0.05)
        client.write(b"later")
        assert server.read() == b"later"


def test_close_wakes_the_reader_in_another_thread() -> None:
    server, client = pair()
    with client:
        got: list[bytes | None] = []
        reading = threading.Thread(target=lambda: got.append(server.read()))
        reading.start()
        server.close()
        reading.join(windows_programs.PATIENCE)
        assert got == [None]
        assert client.read() is None
        assert client.end_reason == "clean"


@pytest.mark.parametrize("example", ["digest_blocking.py", "digest.py"])
def test_a_helper(example: str) -> None:
    helper = Helper([sys.executable, str(EXAMPLES / example)], timeout=60)
    with helper as channel:
        for number in range(100):
            message = b"%d" % number * 1000
            channel.write(message)
            answer = channel.read(windows_programs.PATIENCE)
            assert answer == hashlib.sha256(message).hexdigest().encode()
    assert helper.process.returncode == 0
