"""Whose a socket is, as Windows itself answers."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from ipc_channel import TCPSocketChannel
from ipc_channel.options import check_users
from ipc_channel.transports.peer_user import peer_user
from ipc_channel.transports.tcp_listener import reset
from ipc_channel.windows import accounts
from ipc_channel.windows.accounts import own_sid, sid_of
from wine import NO_IPV6_OWNER, not_under_wine

SYSTEM = "S-1-5-18"
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(
    sys.platform != "win32", reason="asks Windows itself: nox -s windows runs it"
)


def test_our_own_user() -> None:
    before = 11_644_473_600 + time.time()  # from 1601 on
    found = accounts.user_of_process(os.getpid())
    assert found is not None
    assert re.fullmatch(r"S-1-5-21(-\d+){4}|S-1-5-(18|19|20)", found.sid)
    assert before - 3600 < found.created / 10**7 <= before
    assert found.sid == own_sid() == sid_of(os.environ["USERNAME"])


def test_the_user_of_no_process() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        assert accounts.user_of_process(process.pid) is not None
    assert accounts.user_of_process(2**31 - 4) is None


def test_names_of_users() -> None:
    assert check_users(["SYSTEM"]) == {SYSTEM}
    for name in ("Administrators", "no such user", ""):
        with pytest.raises(ValueError, match="is no user of this system"):
            check_users([name])


@pytest.mark.covers("RDV-42", "RDV-50")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", pytest.param("::1", marks=not_under_wine(NO_IPV6_OWNER))]
)
def test_whose_a_socket_is(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as listener,
        socket.create_connection(listener.getsockname()[:2]) as client,
        listener.accept()[0] as server,
    ):
        client.sendall(b"x")  # Wine knows the process only then
        assert peer_user(server) == own_sid()
        client.shutdown(socket.SHUT_WR)
        assert peer_user(server) == own_sid(), "half-closed, but held"
        reset(client)
        assert peer_user(server) is None


def test_a_client_of_our_own_is_let_in() -> None:
    code = (
        "import socket, sys\n"
        "sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "sock.sendall(b'\\0\\0\\0\\5hello')\n"
        "sock.recv(1)\n"
    )

    async def meet() -> None:
        server = TCPSocketChannel()
        command = [sys.executable, "-I", "-S", "-c", code, server.in_path]
        with subprocess.Popen(command):  # noqa: ASYNC220
            assert await server.connect(PATIENCE)
            assert await server.read() == b"hello"
            await server.close()

    asyncio.run(meet())


@pytest.mark.covers("RDV-42")
def test_a_client_that_has_left_is_refused() -> None:
    """Windows does not tell the user of its process any more."""

    async def meet() -> None:
        server = TCPSocketChannel()
        code = (
            "import socket, sys\n"
            "sock = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
            "sock.sendall(b'\\0\\0\\0\\5hello')\n"
        )
        command = [sys.executable, "-I", "-S", "-c", code, server.in_path]
        subprocess.run(command, check=True)  # noqa: ASYNC221
        assert not await server.connect(0.05)
        assert "refused 1 peer that disconnected" in str(server.last_exception)
        await server.close()

    asyncio.run(meet())
