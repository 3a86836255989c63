"""A listening socket that systemd hands over: here a test plays systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from raw import PATIENCE, Raw, frame

# Between fork and exec of a real one, LISTEN_PID becomes that of the process.
LAUNCHER = """
import os, sys
count = int(os.environ["LISTEN_FDS"])
given = [int(text) for text in sys.argv[1].split(",")] if count else []
copies = [os.dup(number) for number in given]
for number in given:
    os.close(number)
for position, number in enumerate(copies):
    os.dup2(number, 3 + position)
    os.set_inheritable(3 + position, True)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
SERVICE = """
import asyncio, os, sys
from ipc_channel import *
async def main(wanted):
    for _ in range(2):  # the socket outlives a channel
        channel = make_ipc_channel(transport="unix", systemd=wanted)
        print(channel.in_path, flush=True)
        assert await channel.connect(60)
        await channel.write(await channel.read())
        assert await channel.read() is None
        await channel.close()
wanted = True if sys.argv[1] == "True" else sys.argv[1]
try:
    asyncio.run(main(wanted))
except BadRendezvousError as error:
    print(error)
"""


def launch(
    sockets: Sequence[socket.socket], *command: str, **variables: str
) -> subprocess.Popen[str]:
    numbers = [one.fileno() for one in sockets]
    environment = {"LISTEN_FDS": str(len(sockets))} | variables
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, ",".join(map(str, numbers)), *command],
        env=os.environ | environment,
        pass_fds=numbers,
        stdout=subprocess.PIPE,
        text=True,
    )


def refusal(
    sockets: Sequence[socket.socket], wanted: str = "True", **variables: str
) -> str:
    said, _ = launch(sockets, "-c", SERVICE, wanted, **variables).communicate()
    return said


def listening(path: Path | str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(os.fspath(path))
    sock.listen()
    return sock


def talk(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        peer = Raw(os.dup(sock.fileno()), sock.fileno())
        peer.send(frame(b"hello"))
        assert peer.recv_frame() == b"hello"
        os.close(peer.in_fd)


@pytest.mark.covers("RDV-70")
@pytest.mark.parametrize("wanted", ["True", "mine"])
def test_a_socket_is_adopted_and_stays(wanted: str, place: Path) -> None:
    paths = [place / "one"] if wanted == "True" else [place / "other", place / "one"]
    sockets = [listening(path) for path in paths]
    names = {} if wanted == "True" else {"LISTEN_FDNAMES": "other:mine"}
    with launch(sockets, "-c", SERVICE, wanted, **names) as service:
        assert service.stdout
        for _ in range(2):
            assert service.stdout.readline() == f"unix:{place / 'one'}\n"
            talk(place / "one")
    assert service.returncode == 0
    assert (place / "one").is_socket(), "it is systemd's"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place / "one"))  # and systemd listens there still
    for one in sockets:
        one.close()


@pytest.mark.covers("RDV-70")
def test_who_is_in_the_queue_waits_for_the_next_service(place: Path) -> None:
    """Or for the next channel of the same one: to close leaves the queue as it is."""
    with listening(place / "one") as sock:
        for _ in range(2):
            with launch([sock], "-c", SERVICE, "True") as service:
                for _ in range(2):
                    talk(place / "one")
                assert service.wait(PATIENCE) == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"LISTEN_PID": "1"}, "no socket to this process (LISTEN_PID is 1); start it by"),
        ({"LISTEN_PID": ""}, "no socket to this process (LISTEN_PID is )"),
        ({"LISTEN_FDS": "0"}, "0 sockets, named [], and not a single one; name it with"),
        ({"LISTEN_FDS": "many"}, "0 sockets"),
        ({"LISTEN_FDS": "2"}, "2 sockets, named ['', ''], and not a single one"),
    ],
)
def test_what_systemd_did_not_hand_over(
    variables: dict[str, str], said: str, place: Path
) -> None:
    with listening(place / "one") as sock:
        if variables.get("LISTEN_FDS") == "many":
            program = f"import os; os.environ['LISTEN_FDS'] = 'many'\n{SERVICE}"
            service = launch([sock], "-c", program, "True")
            assert said in service.communicate()[0]
        elif variables.get("LISTEN_FDS") == "2":
            with listening(place / "two") as other:
                assert said in refusal([sock, other])
        else:
            assert said in refusal([sock], **variables)


def test_outside_systemd(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, "True"],
        env={key: value for key, value in os.environ.items() if "LISTEN" not in key},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "(LISTEN_PID is not set); start it by a .socket unit" in done.stdout
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("names", ["one:two", "mine:mine", "mine", ""])
def test_a_name_that_is_not_there_once(names: str, place: Path) -> None:
    with listening(place / "one") as one, listening(place / "two") as two:
        wanted = "mine" if names != "mine" else "yours"
        said = refusal([one, two], wanted, LISTEN_FDNAMES=names)
        assert f"and not one named '{wanted}'; name it with FileDescriptorName=" in said


def test_sockets_of_other_kinds(place: Path) -> None:
    datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    datagram.bind(str(place / "datagram"))
    deaf = socket.socket(socket.AF_UNIX)
    deaf.bind(str(place / "deaf"))
    packets = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    packets.bind(str(place / "packets"))
    packets.listen()
    others = [datagram, deaf, packets, socket.create_server(("127.0.0.1", 0))]
    for one in others:
        with one:
            said = refusal([one])
            assert "descriptor 3 from systemd is no listening Unix stream socket" in said


def test_what_is_no_socket_at_all(place: Path) -> None:
    expected = "descriptor 3 from systemd is no listening Unix stream socket"
    with listening(place / "one") as sock:
        for do in ("os.dup2(os.open('/dev/null', 0), 3)", "os.close(3)"):
            count = "len(os.listdir('/proc/self/fd'))"
            program = (
                f"import os; {do}; before = {count}\n{SERVICE}\nassert before == {count}"
            )
            service = launch([sock], "-c", program, "True")
            assert expected in service.communicate()[0]
            assert service.returncode == 0


def test_a_path_that_no_client_could_be_told(place: Path) -> None:
    for name, said in (
        (f"\0abstract-{os.getpid()}", "the path of a Unix socket is absolute"),
        (f"{place}/{'x' * (104 - len(str(place)) - 1)}", "at most 103 bytes, not 104"),
    ):
        with listening(name) as sock:
            assert said in refusal([sock])


NOT_INHERITED = """
import os, subprocess, sys
from ipc_channel import make_ipc_channel
channel = make_ipc_channel(transport="unix", systemd=True)
del channel._status  # so no warning
listed = "import os; print(sorted(os.listdir('/proc/self/fd')))"
command = [sys.executable, "-c", listed]
print(subprocess.run(command, close_fds=False, capture_output=True).stdout)
"""


def test_helpers_do_not_inherit_it(place: Path) -> None:
    with listening(place / "one") as sock:
        said, _ = launch([sock], "-c", NOT_INHERITED).communicate()
    assert said.strip() == repr(b"['0', '1', '2', '3']\n"), "3 is what it lists with"


def test_an_odd_path(place: Path) -> None:
    path = os.path.join(os.fsencode(place), b"\xfc\n.socket")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    program = SERVICE.replace("print(channel.in_path", "print(ascii(channel.in_path)")
    with sock, launch([sock], "-c", program, "True") as service:
        assert service.stdout
        for _ in range(2):
            assert service.stdout.readline().strip() == ascii(f"unix:{os.fsdecode(path)}")
            talk(Path(os.fsdecode(path)))
