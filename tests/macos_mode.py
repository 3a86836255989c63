"""What of the package runs on macOS, run on Linux: without all that only Linux has.

    macos_mode.py session|path|others DIRECTORY [USER]

The platform is macOS from before the package is imported. There is no /proc, no
sock_diag, no pidfd, no POLLRDHUP and no MSG_NOSIGNAL, and the kernel tells the user of a
peer as a ``struct xucred``.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import select
import signal
import socket
import struct
import sys
import tempfile
from typing import Any

_open: Any = builtins.open


def _open_without_proc(path: Any, *args: Any, **options: Any) -> Any:
    if str(path).startswith("/proc"):
        raise FileNotFoundError(2, "there is no /proc", path)
    return _open(path, *args, **options)


def _xucred(sock: socket.socket) -> bytes:
    """Answer as LOCAL_PEERCRED does: version, user, count of groups, 16 groups."""
    found = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, 12)
    _, user, group = struct.unpack("=iII", found)
    return struct.pack("=IIhxxI60x", 0, user, 1, group)


_SO_PEERCRED = socket.SO_PEERCRED
builtins.open = _open_without_proc  # type: ignore[assignment]  # fewer signatures
for _module, _names in {
    socket: ("SO_PEERCRED", "AF_NETLINK", "MSG_NOSIGNAL", "TCP_INFO"),
    select: ("POLLRDHUP",),
    os: ("pidfd_open",),
    signal: ("pidfd_send_signal",),
}.items():
    for _name in _names:
        if hasattr(_module, _name):
            delattr(_module, _name)
sys.platform = "darwin"

import ipc_channel  # noqa: E402
from ipc_channel.transports import credentials  # noqa: E402

credentials._xucred = _xucred


async def talk(server: ipc_channel.IPCChannel, **options: Any) -> None:
    client = ipc_channel.make_ipc_channel_client(server.out_path, server.in_path, **options)
    assert all(await asyncio.gather(server.connect(60), client.connect(60)))
    for size in (1, 10**6):
        await client.write(b"x" * size)
        assert await server.read() == b"x" * size
        await server.write(b"y" * size)
        assert await client.read() == b"y" * size
    await client.close()
    assert await server.read() is None
    assert server.end_reason == "clean"


async def session() -> None:
    """A session, removal of the socket and of its directory, and a helper."""
    server = ipc_channel.make_ipc_channel()
    path = server.in_path.removeprefix("unix:")
    assert path != server.in_path, "the default on macOS"
    await talk(server)
    os.unlink(path)
    await talk(server)
    connecting = asyncio.create_task(server.connect(60))
    await asyncio.sleep(0)
    os.unlink(path)
    os.rmdir(os.path.dirname(path))
    client = ipc_channel.make_ipc_channel_client(server.out_path, server.in_path)
    assert await client.connect(60)
    assert await connecting
    await client.close()
    await server.close()
    echo = (
        "import asyncio, ipc_channel\n"
        "async def main():\n"
        "    paths = ipc_channel.from_environment()\n"
        "    async with ipc_channel.make_ipc_channel_client(*paths) as channel:\n"
        "        async for message in channel: await channel.write(message)\n"
        "asyncio.run(main())"
    )
    # A usual Linux process, with its own ideas of who we are.
    helper = ipc_channel.Helper(
        [sys.executable, "-c", echo], ipc_channel.make_ipc_channel()
    )
    async with helper as channel:
        await channel.write(b"hello")
        assert await channel.read() == b"hello"


async def answer(server: ipc_channel.IPCChannel) -> None:
    """Serve the first peer that is let in."""
    print(server.in_path.removeprefix("unix:"), flush=True)
    assert await server.connect(60)
    assert await server.read() == b"hello"
    await server.write(b"welcome")
    assert await server.read() is None
    await server.close()


async def path() -> None:
    await answer(
        ipc_channel.make_ipc_channel(
            transport="unix", path=os.path.join(sys.argv[2], "socket"), mode=0o666
        )
    )


async def others() -> None:
    await answer(ipc_channel.make_ipc_channel(allowed_users=[int(sys.argv[3])]))


if __name__ == "__main__":
    tempfile.tempdir = sys.argv[2]
    asyncio.run({"session": session, "path": path, "others": others}[sys.argv[1]]())
    assert os.listdir(sys.argv[2]) == [], os.listdir(sys.argv[2])
