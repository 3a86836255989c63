"""Helpers as real processes: started, met, ended, restarted, and found dead."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    ChannelClosedError,
    FrameTooLargeError,
    Helper,
    HelperError,
    TruncatedError,
    make_ipc_channel,
    make_ipc_channel_client,
)
from raw import PATIENCE, eventually

ECHO = [sys.executable, str(Path(__file__).parents[2] / "python" / "examples" / "echo.py")]

SPEAK = (
    "import os;"
    "r = os.open(os.environ['IPC_CHANNEL_IN'], os.O_RDONLY | os.O_NONBLOCK);"
    "w = os.open(os.environ['IPC_CHANNEL_OUT'], os.O_WRONLY);"
    "os.write(w, b'\\0\\0\\0\\1x');"
)


def child(code: str) -> list[str]:
    """Return the command of a helper that runs ``code``, with ``channel`` at hand."""
    intro = (
        "import asyncio, os, signal, sys, time\n"
        "from ipc_channel import from_environment, make_ipc_channel_client\n"
        "channel = make_ipc_channel_client(*from_environment())\n"
    )
    return [sys.executable, "-c", intro + code]


def main(body: str) -> list[str]:
    """Return the command of a helper that runs ``body`` with its channel connected."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return child(
        f"async def main():\n    await channel.connect()\n{lines}asyncio.run(main())"
    )


async def test_echo(transport: Any) -> None:
    before = open_descriptors()
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    async with helper as channel:
        for message in (b"one", b"two" * 100_000):
            await channel.write(message)
            assert await channel.read() == message
    assert helper.process.returncode == 0
    assert open_descriptors() == before


async def test_a_helper_is_restarted_on_the_same_channel(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    for number in range(3):
        channel = await helper.start()
        with pytest.raises(HelperError, match="is running"):
            await helper.start()
        await channel.write(b"%d" % number)
        assert await channel.read() == b"%d" % number
        helper.process.send_signal(signal.SIGKILL)
        assert await channel.read() is None
        assert channel.end_reason == "eof"  # and start once more, without waiting for it
    assert await helper.stop() == -signal.SIGKILL
    pid = helper.process.pid
    with pytest.raises(ChannelClosedError):
        await helper.start()
    assert helper.process.pid == pid, "no process may be started for a closed channel"


async def test_a_helper_that_ended_its_session_but_goes_on(transport: Any) -> None:
    body = "await channel.close()\ntime.sleep(1000)"
    helper = Helper(main(body), make_ipc_channel(transport=transport), grace=0.1)
    channel = await helper.start()
    assert await channel.read() is None
    said = r"is running 0\.1 s after its session; call process\.kill\(\) and start again"
    with pytest.raises(HelperError, match=said):
        await helper.start()
    helper.process.kill()
    assert await helper.start() is channel
    assert await helper.stop() == -signal.SIGTERM


async def test_a_helper_that_runs_is_replaced(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    channel = await helper.start()
    first = helper.process.pid
    with pytest.raises(HelperError, match="disconnect the channel and start again"):
        await helper.start()
    await channel.disconnect()
    await helper.start()
    assert helper.process.pid != first
    await channel.write(b"hello")
    assert await channel.read() == b"hello"
    assert await helper.stop() == 0


async def test_a_channel_that_has_another_peer() -> None:
    server = make_ipc_channel()
    client = make_ipc_channel_client(server.out_path, server.in_path)
    assert all(await asyncio.gather(server.connect(), client.connect()))
    with pytest.raises(HelperError, match="has a peer already"):
        await Helper(ECHO, server).start()
    await client.close()
    await server.close()


@pytest.mark.parametrize("say", [b"", b"job"])
async def test_a_service_that_speaks_and_leaves_at_once(transport: Any, say: bytes) -> None:
    """The helper gets everything, although nobody is there any more when it looks."""
    body = "sys.exit(int(''.join([m.decode() async for m in channel]) != sys.argv[1]))"
    for _ in range(5):
        helper = Helper(
            [*main(body), say.decode()],
            make_ipc_channel(transport=transport),
            grace=PATIENCE,
        )
        async with helper as channel:
            if say:
                await channel.write(say)
        assert helper.process.returncode == 0


async def test_killed_inside_a_frame(transport: Any) -> None:
    body = """
await channel.write(b"whole")
stream = channel._session._stream
await asyncio.sleep(0)
stream.write([b"\\0\\0\\0\\x64" + b"half"])
await channel.read()
os.kill(os.getpid(), signal.SIGKILL)
"""
    helper = Helper(main(body), make_ipc_channel(transport=transport))
    async with helper as channel:
        await channel.write(b"now")
        assert await channel.read() == b"whole"
        with pytest.raises(TruncatedError):
            await channel.read()
        assert channel.end_reason == "truncated"


async def test_killed_with_unread_input(transport: Any) -> None:
    body = "await asyncio.sleep(0)\nos.write(2, b'')\nos.kill(os.getpid(), signal.SIGSTOP)"
    helper = Helper(main(body), make_ipc_channel(transport=transport))
    async with helper as channel:
        await _wait_stopped(helper.process.pid)
        await channel.write(b"never read")
        helper.process.send_signal(signal.SIGKILL)
        try:
            assert await channel.read() is None
        except ConnectionResetError:
            assert transport == "tcp"
        assert channel.end_reason == ("reset" if transport == "tcp" else "eof")


async def _wait_stopped(pid: int) -> None:
    await eventually(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")


async def test_stopped_in_mid_transfer(transport: Any) -> None:
    message = os.urandom(5 * 2**20)
    async with Helper(ECHO, make_ipc_channel(transport=transport)) as channel:
        helper = channel
        writing = asyncio.create_task(channel.write(message))
        reading = asyncio.create_task(channel.read())
        await asyncio.sleep(0.001)
        pid = _child_of(os.getpid())
        os.kill(pid, signal.SIGSTOP)
        await _wait_stopped(pid)
        await asyncio.sleep(0.2)
        os.kill(pid, signal.SIGCONT)
        assert await reading == message
        await writing
        assert helper is channel


def _child_of(parent: int) -> int:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert len(children) == 1
    return int(children[0])


async def test_a_helper_that_ends_before_it_connects(transport: Any) -> None:
    helper = Helper(
        [sys.executable, "-c", "raise SystemExit(3)"],
        make_ipc_channel(transport=transport),
        timeout=PATIENCE,
    )
    with pytest.raises(
        HelperError, match=r"SystemExit.* ended with status 3 before it connected"
    ):
        async with helper:
            pytest.fail("the body must not run")


async def test_a_helper_that_never_connects(transport: Any) -> None:
    helper = Helper(
        [sys.executable, "-c", "import time; time.sleep(1000)"],
        make_ipc_channel(transport=transport),
        timeout=0.2,
    )
    with pytest.raises(HelperError, match=r"did not connect in 0\.2 s"):
        async with helper:
            pytest.fail("the body must not run")
    assert helper.process.returncode is not None


async def test_a_helper_that_is_not_there(transport: Any) -> None:
    with pytest.raises(HelperError, match="cannot start helper /nowhere"):
        async with Helper(["/nowhere"], make_ipc_channel(transport=transport)):
            pytest.fail("the body must not run")


async def test_a_helper_that_does_not_end_is_made_to() -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nawait channel.write(b'deaf')\ntime.sleep(1000)"
    helper = Helper(main(body), make_ipc_channel(), grace=0.1)
    channel = await helper.start()
    assert await channel.read() == b"deaf"
    assert await helper.stop() == -signal.SIGKILL
    assert await helper.stop() == -signal.SIGKILL


async def test_a_helper_that_speaks_and_leaves_at_once(transport: Any) -> None:
    # Over TCP it waits for us: a socket that was closed has no owner to check.
    wait = "await channel.read()\n" if transport == "tcp" else ""
    body = f"await channel.write(b'done')\n{wait}await channel.close()"
    async with Helper(main(body), make_ipc_channel(transport=transport)) as channel:
        if wait:
            await channel.write(b"go")
        assert [message async for message in channel] == [b"done"]
        assert channel.end_reason == "clean"


async def test_stop_before_start() -> None:
    helper = Helper(ECHO, make_ipc_channel())
    assert await helper.stop() is None


async def test_impossible_arguments() -> None:
    channel = make_ipc_channel()
    commands: list[Any] = ["echo.py", [], None, [1]]
    for command in commands:
        with pytest.raises(TypeError, match="command"):
            Helper(command, channel)
    with pytest.raises(ValueError, match="grace"):
        Helper(ECHO, channel, grace=-1)
    with pytest.raises(ValueError, match="NUL"):
        Helper(["a\0b"], channel)
    assert Helper([Path("/bin/echo")], channel).command == ["/bin/echo"]
    await channel.close()


async def test_environment_and_directory(tmp_path: Path) -> None:
    body = "await channel.write((os.environ['ONLY'] + os.getcwd()).encode())"
    package = str(Path(__file__).parents[2] / "python")
    helper = Helper(
        main(body),
        make_ipc_channel(),
        env={"ONLY": "this", "PYTHONPATH": package},
        cwd=tmp_path,
    )
    async with helper as channel:
        assert await channel.read() == b"this" + os.fsencode(tmp_path)


async def test_a_helper_that_is_gone_before_it_was_met() -> None:
    for _ in range(3):
        async with Helper(
            [sys.executable, "-S", "-c", SPEAK], make_ipc_channel()
        ) as channel:
            assert await channel.read() == b"x"
            assert await channel.read() is None


async def test_sigterm_comes_before_sigkill() -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        + SPEAK
        + "time.sleep(1000)"
    )
    helper = Helper([sys.executable, "-S", "-c", code], make_ipc_channel(), grace=0.3)
    channel = await helper.start()
    assert await channel.read() == b"x"
    assert await helper.stop() == 7


async def test_a_failed_start_does_not_wait_for_the_grace() -> None:
    helper = Helper(
        [sys.executable, "-c", "import time; time.sleep(1000)"],
        make_ipc_channel(),
        timeout=0.1,
        grace=PATIENCE,
    )
    start = time.monotonic()
    with pytest.raises(HelperError):
        async with helper:
            pytest.fail("the body must not run")
    assert time.monotonic() - start < PATIENCE / 2


async def test_a_stop_cancelled_while_closing_still_ends_the_helper() -> None:
    helper = Helper(
        [sys.executable, "-S", "-c", SPEAK + "import time; time.sleep(1000)"],
        make_ipc_channel(linger=PATIENCE),
        grace=0.05,
    )
    channel = await helper.start()
    writing = asyncio.create_task(channel.write(bytes(20 * 2**20)))
    await asyncio.sleep(0.01)
    stopping = asyncio.create_task(helper.stop())
    await asyncio.sleep(0.01)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert helper.process.returncode is not None
    await asyncio.gather(writing, return_exceptions=True)


LINGERS = """
async def main():
    await channel.connect()
    await channel.write(b'here')
    while await channel.read():
        pass
asyncio.run(main())
"""


async def test_a_helper_that_waits_for_our_end_is_restarted(transport: Any) -> None:
    """Its session has ended for us, and it leaves when it is told so."""
    helper = Helper(
        child(LINGERS), make_ipc_channel(transport=transport, max_message_size=3)
    )
    channel = await helper.start()
    first = helper.process.pid
    with pytest.raises(FrameTooLargeError):
        await channel.read()
    await helper.start()
    assert helper.process.pid != first
    await helper.stop()


async def test_nothing_waits_behind_a_start(transport: Any) -> None:
    helper = Helper(ECHO, make_ipc_channel(transport=transport))
    await helper.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await helper.stop()
    failing = Helper(["/nowhere"], make_ipc_channel(transport=transport))
    with pytest.raises(HelperError):
        await failing.start()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await failing.stop()


async def test_a_helper_that_does_not_connect_may_clean_up() -> None:
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7));"
        "print(end='.', file=sys.stderr, flush=True); time.sleep(1000)"
    )
    helper = Helper([sys.executable, "-S", "-c", code], make_ipc_channel(), timeout=1)
    with pytest.raises(HelperError, match="did not connect"):
        await helper.start()
    assert helper.process.returncode == 7
    await helper.stop()


async def test_what_a_helper_shows() -> None:
    helper = Helper([sys.executable, "-c", "import os\n" + "x" * 300], make_ipc_channel())
    with pytest.raises(HelperError, match="was not started"):
        _ = helper.process
    assert repr(helper).endswith(" not started>")
    assert "\n" not in str(helper)
    assert len(str(helper)) <= 200
    with pytest.raises(HelperError):
        await helper.start()
    assert repr(helper).endswith(" status 1>")
    await helper.stop()
