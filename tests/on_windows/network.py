"""A network of its own for a thread, and for what it starts (Linux).

Whenever a program asks Wine for the table of all connections, Wine searches the
descriptors of all its programs for each connection of the machine, and those that were
closed a minute ago count. It gives up if the table grows meanwhile.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def leave() -> bool:
    """Move this thread to a new network with a loopback interface.

    Return False where that is not allowed, as in most containers.
    """
    if ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        return False
    with socket.socket() as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
    return True
