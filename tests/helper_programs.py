"""Helpers that start quickly: Python without ``site``, over the bare system calls."""

from __future__ import annotations

import sys

_CONNECT = """
import os, sys
i, o = os.environ["IPC_CHANNEL_IN"], os.environ["IPC_CHANNEL_OUT"]
if i.startswith("/"):
    r = os.open(i, os.O_RDONLY | os.O_NONBLOCK)
    w = os.open(o, os.O_WRONLY)
    os.set_blocking(r, True)
else:
    import _socket
    unix = i.startswith("unix:")
    s = _socket.socket(_socket.AF_UNIX if unix else _socket.AF_INET)
    s.connect(i[5:] if unix else ("127.0.0.1", int(i)))
    r = w = s.fileno()
"""

# A close frame, or the end, and then the same from this side. The server lets a peer in
# before it closes, so that whoever waits for its end may leave.
_BEHAVE = """
while os.read(r, 1 << 16): pass
os.write(w, b"\\0\\0\\0\\0")
"""

_IGNORE = """
import _signal, time
_signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
os.write(w, b"\\0\\0\\0\\4deaf")
while True: time.sleep(1000)
"""


def program(code: str) -> list[str]:
    """Return the command of a helper that runs ``code`` without connecting."""
    return [sys.executable, "-I", "-S", "-c", code]


def connected(code: str) -> list[str]:
    """Return the command of a helper that runs ``code``, which reads ``r`` and writes ``w``."""
    return program(_CONNECT + code)


BEHAVES = connected(_BEHAVE)
"""Connects, and leaves once the channel ends."""

IGNORES = connected(_IGNORE)
"""Connects, says ``deaf``, and ignores SIGTERM and its channel."""

DIES = ["/bin/sh", "-c", "exit 3"]
"""Ends at once."""
