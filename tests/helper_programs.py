"""Helpers that start quickly: Python without ``site``, over the bare system calls."""

from __future__ import annotations

import sys

from ipc_channel import IPCChannel

_CONNECT = """
import os, sys
i, o = os.environ["IPC_CHANNEL_IN"], os.environ["IPC_CHANNEL_OUT"]
if i.startswith("/"):
    r = os.open(i, os.O_RDONLY)  # waits for the server: no false end
    w = os.open(o, os.O_WRONLY)
else:
    import _socket
    unix = i.startswith("unix:")
    s = _socket.socket(_socket.AF_UNIX if unix else _socket.AF_INET)
    s.connect(i[5:] if unix else ("127.0.0.1", int(i)))
    r = w = s.fileno()
    if os.name == "nt":  # where a socket is no descriptor
        s.send(b"")  # Wine tells whose a socket is only once it has been used
        r = w = 1 << 20
        def _for_both(ours, theirs):
            return lambda fd, what: ours(what) if fd == r else theirs(fd, what)
        os.read, os.write = _for_both(s.recv, os.read), _for_both(s.send, os.write)
"""

# A service that closes named pipes does not wait for an answer.
_BEHAVE = """
while os.read(r, 1 << 16): pass
try: os.write(w, b"\\0\\0\\0\\0")
except OSError: pass
"""

_IGNORE = """
import _signal, time
_signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
os.write(w, b"\\0\\0\\0\\4deaf")
while True: time.sleep(1000)
"""

# Sleeps briefly: Python calls a handler after a sleep that began just after the signal.
_FORK = """
import _signal, time
r2, w2 = os.pipe()
if os.fork() == 0:
{child}
    os.write(w2, b".")
    while True: time.sleep(0.05)
os.read(r2, 1)
"""


def with_child(child: str, code: str = "") -> list[str]:
    """Return the command of a helper that tells the pid of a child which runs ``child``.

    The child waits for ever after it, and so holds the channel; the helper itself waits
    for its channel to end, or runs ``code``.
    """
    child = "".join(f"    {line}\n" for line in child.splitlines()) or "    pass\n"
    fork = _FORK.replace("{child}", child).replace(
        "if os.fork()", "pid = os.fork()\nif pid"
    )
    say = 'p = str(pid).encode()\nos.write(w, len(p).to_bytes(4, "big") + p)\n'
    return connected(fork + say + (code or _BEHAVE))


def program(code: str) -> list[str]:
    """Return the command of a helper that runs ``code`` without connecting."""
    return [sys.executable, "-I", "-S", "-c", code]


def connected(code: str) -> list[str]:
    """Return the command of a helper that runs ``code``, which reads ``r`` and writes ``w``."""
    return program(_CONNECT + code)


async def told(channel: IPCChannel) -> int:
    """Return the pid that a helper tells."""
    message = await channel.read()
    assert message is not None
    return int(message)


BEHAVES = connected(_BEHAVE)
"""Connects, and leaves once the channel ends."""

IGNORES = connected(_IGNORE)
"""Connects, says ``deaf``, and ignores SIGTERM and its channel."""

DIES = ["/bin/sh", "-c", "exit 3"]
"""Ends at once."""

DEAF = "_signal.signal(_signal.SIGTERM, _signal.SIG_IGN)"
"""Code of a child that ignores SIGTERM."""

SLEEPS = ["/bin/sleep", "1000"]
"""Neither connects nor ends."""
