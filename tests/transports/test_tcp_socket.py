"""What only TCP has: connecting, what can be in the way of it, and small writes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
import time
from typing import Any, NoReturn

import pytest

from descriptors import open_descriptors
from ipc_channel import (
    BadRendezvousError,
    TCPSocketChannel,
    TCPSocketChannelClient,
)
from ipc_channel.windows.api import strerror
from raw import PATIENCE, dial, free_port
from waiting import until_connect_waits

not_on_windows = pytest.mark.skipif(
    sys.platform == "win32", reason="its sockets have no such error"
)


def of_socket(code: int) -> int:
    """Return the number that a socket gives for an error; Windows has two of some."""
    return int(getattr(errno, f"WSA{errno.errorcode[code]}", code))


@pytest.mark.covers("RDV-43")
async def test_refused_then_listening() -> None:
    port = free_port()
    client = TCPSocketChannelClient(str(port), str(port))
    assert not await client.connect(0.02)
    connecting = asyncio.create_task(client.connect(PATIENCE))
    await until_connect_waits(client)
    with socket.create_server(("127.0.0.1", port)) as listener:
        sock, _ = await asyncio.to_thread(listener.accept)
        assert await connecting
        sock.close()
    await client.close()


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "[127.0.0.1]:{}"])
async def test_forms_of_the_string(form: str) -> None:
    server = TCPSocketChannel()
    text = form.format(server.in_path)
    client = TCPSocketChannelClient(text, text)
    assert all(await asyncio.gather(client.connect(), server.connect()))
    await client.close()
    await server.close()


async def test_a_full_backlog() -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        port = str(listener.getsockname()[1])
        client = TCPSocketChannelClient(port, port)
        before = open_descriptors()
        start = time.monotonic()
        assert await client.connect(0.2) is False
        assert time.monotonic() - start >= 0.2
        assert open_descriptors() == before
        await client.close()


@pytest.mark.covers("RDV-48")
async def test_a_client_stays_until_it_was_let_in() -> None:
    """Once it has left, the kernel cannot say which user it was, so its data is lost."""
    server = TCPSocketChannel()
    client = TCPSocketChannelClient(server.out_path, server.in_path, linger=PATIENCE)
    assert await client.connect()
    await client.write(b"short visit")
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0.25)  # longer than a silent peer is waited for
    assert not closing.done()
    assert await server.connect()
    assert await server.read() == b"short visit"
    assert await server.read() is None
    if sys.platform == "linux":  # elsewhere the client waits for the server's end
        await closing
    await server.close()
    await closing


@pytest.mark.covers("RDV-12")
async def test_a_client_does_not_try_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    client = TCPSocketChannelClient("1", "1")
    tries = 0
    real: Any = client._attempt  # looks inside

    async def attempt(loop: asyncio.AbstractEventLoop) -> socket.socket | None:
        nonlocal tries
        tries += 1
        found: socket.socket | None = await real(loop)
        return found

    monkeypatch.setattr(client, "_attempt", attempt)
    assert not await client.connect(0.2)
    assert 2 <= tries <= 25, "after 0, 1, 3, 7, 15, 31 ms, every 20 ms, at the end: 15"
    await client.close()


@pytest.mark.covers("RDV-44")
async def test_never_connected_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    client = TCPSocketChannelClient(str(port), str(port))
    loop = asyncio.get_running_loop()

    class SelfConnecting(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            if self.family == socket.AF_INET:  # the loops have others of their own
                self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self.bind(("127.0.0.1", port))

    with SelfConnecting() as sock:  # it can be done ...
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        assert sock.getsockname() == sock.getpeername()
    monkeypatch.setattr("ipc_channel.transports.tcp_socket.socket.socket", SelfConnecting)
    assert not await client.connect(0.05)  # ... and is refused
    await client.close()


@pytest.mark.covers("RDV-11")
@pytest.mark.parametrize(
    ("code", "address"),
    [
        (errno.EADDRNOTAVAIL, "[::1]:5000"),
        (errno.EAFNOSUPPORT, "[::1]:5000"),
        (errno.ENETUNREACH, "5000"),
        (errno.EACCES, "5000"),
        pytest.param(errno.EPERM, "5000", marks=not_on_windows),
    ],
)
async def test_an_address_that_can_never_work(
    code: int, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine forbids it, or has no such address: no use in waiting."""
    with pytest.raises(BadRendezvousError, match=f"5000.*{strerror(of_socket(code))}"):
        await connect_refused_with(code, address, monkeypatch)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.EAFNOSUPPORT, BadRendezvousError), (errno.EMFILE, OSError)],
)
async def test_a_system_that_gives_no_socket(
    code: int, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel without IPv6 says so before there is anything to connect."""

    class Refused(socket.socket):
        def __init__(self, *_: Any) -> NoReturn:
            raise OSError(code, strerror(code))

    client = TCPSocketChannelClient("[::1]:5000", "[::1]:5000")
    with monkeypatch.context() as patch:
        patch.setattr("ipc_channel.transports.tcp_socket.socket.socket", Refused)
        with pytest.raises(expected, match=strerror(code)):
            await client.connect(PATIENCE)
    await client.close()


@pytest.mark.parametrize(
    "code",
    [
        errno.EADDRNOTAVAIL,
        errno.EMFILE,
        errno.ENOBUFS,
        pytest.param(errno.ENOMEM, marks=not_on_windows),
    ],
)
async def test_a_machine_without_a_free_port_or_memory(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match=strerror(of_socket(code))) as caught:
        await connect_refused_with(code, "5000", monkeypatch)
    assert caught.value.errno == code


@pytest.mark.covers("RDV-14")
async def test_an_error_that_no_rule_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may pass; if it does not, the timeout says what it was."""
    why = await connect_refused_with(errno.EHOSTUNREACH, "5000", monkeypatch, timeout=0.02)
    assert f"{strerror(errno.EHOSTUNREACH)}; check that the service is running" in why


async def connect_refused_with(
    code: int, address: str, monkeypatch: pytest.MonkeyPatch, timeout: float = PATIENCE
) -> str:

    class Forbidden(socket.socket):
        def connect_ex(self, address: Any) -> int:
            return of_socket(code)

    client = TCPSocketChannelClient(address, address)
    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr("ipc_channel.transports.tcp_socket.socket.socket", Forbidden)
        try:
            assert not await client.connect(timeout)
            return str(client.last_exception)
        finally:
            assert open_descriptors() == before
            await client.close()


def test_pipe_strings_are_refused() -> None:
    with pytest.raises(BadRendezvousError, match="not a TCP address"):
        TCPSocketChannelClient("/tmp/in", "/tmp/out")


@pytest.mark.covers("RDV-45")
async def test_no_delay() -> None:
    server = TCPSocketChannel()
    peer = dial(server.in_path, server.in_path)
    assert await server.connect()
    sock = server.session.stream._socket  # type: ignore[union-attr]  # looks inside
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    peer.close()
    await server.close()
