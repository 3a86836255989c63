"""A client of ipc-channel in Python, and around it a testee for the conformance suite.

    ipc-channel conformance --transport tcp -- python3 testee.py

Ids such as RDV-43 are requirements of the specification: FRM in spec/framing.md, RDV in
spec/rendezvous.md, SES in spec/session.md, ERR in spec/errors.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

# TODO: say what else your client can do: named_pipe, max_message_size, linger,
# concurrent (SES-11, SES-20, SES-33), cancel (SES-10, SES-21).
CAN = ["tcp"]
LIMIT = 64 * 1024 * 1024  # FRM-6
ERROR_OF_END = {"truncated": "truncated", "reset": "reset", "too_large": "too-large"}


class ChannelError(Exception):
    """An error with one of the codes of spec/errors.md."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


# ---- Your client: connect, read, write, close. This one does the simplest thing over TCP.


class Channel:
    """A connection to the server. ``end`` is the end reason, once there is one."""

    def __init__(self, in_: str, out: str, timeout: float) -> None:
        """Connect, and try again until the timeout (RDV-9, RDV-43)."""
        # TODO RDV-1, RDV-6, RDV-20 to RDV-38: named pipes.
        # TODO RDV-4: the other hosts. RDV-5: all that is refused here stays refused.
        port = re.fullmatch(r"(?:127\.0\.0\.1:)?([1-9][0-9]{0,4})", in_)
        if in_ != out or port is None or int(port[1]) > 65535:
            raise ChannelError("bad-rendezvous", f"{in_!r} and {out!r} lead to no server")
        self.end = ""
        self._closed = False
        self._socket = _connect(int(port[1]), time.monotonic() + timeout)
        self._stream = self._socket.makefile("rb")

    def read(self) -> bytes | None:
        """Return a message, or None at an orderly end; an end stays (SES-1)."""
        if not self.end and (message := self._read_frame()):
            return message
        if self.end in ERROR_OF_END:
            raise ChannelError(ERROR_OF_END[self.end], f"the session ended: {self.end}")
        return None

    def _read_frame(self) -> bytes:
        """Return a message, or set the end reason and return nothing."""
        # TODO SES-3: an end of the stream after a write has met a reset is a reset.
        try:
            header = self._stream.read(4)
            size = int.from_bytes(header, "big")
            if len(header) < 4:
                self.end = "truncated" if header else "eof"  # FRM-10
            elif size == 0:
                self.end = "clean"  # FRM-3
            elif size > LIMIT:
                self.end = "too_large"  # FRM-8
            elif len(message := self._stream.read(size)) < size:
                self.end = "truncated"
            else:
                return message
        except ConnectionError:
            self.end = "reset"
        return b""

    def write(self, message: bytes) -> None:
        """Send a message."""
        # TODO FRM-4, FRM-7: refuse an empty message, and one over the limit.
        # TODO SES-26: nothing can be sent after a reset, too-large or a failed write.
        if self._closed:
            raise ChannelError("closed", "the channel is closed")
        try:
            self._socket.sendall(len(message).to_bytes(4, "big") + message)
        except ConnectionError as error:
            raise ChannelError("peer-gone", str(error)) from error

    def close(self) -> None:
        """Send the close frame (SES-31) and free the socket (SES-32)."""
        # TODO SES-34, SES-60 to SES-62: meanwhile read and drop what the peer sends.
        # TODO SES-50 to SES-52: not for longer than the linger.
        # TODO SES-36: send nothing after a reset or a failed write.
        # TODO RDV-48: not before the server has let this client in.
        if self._closed:
            return  # SES-30
        self._closed = True
        self.end = self.end or "local"
        with contextlib.suppress(OSError):
            self._socket.sendall(bytes(4))
            self._socket.shutdown(socket.SHUT_WR)  # SES-35
        self._stream.close()
        self._socket.close()


def _connect(port: int, deadline: float) -> socket.socket:
    # TODO RDV-12: pause for 1 ms first, then twice as long each time, up to 20 ms.
    # TODO RDV-14: also after other errors, which the timeout then names.
    # TODO RDV-44: not to itself. RDV-45: TCP_NODELAY. RDV-49: a reset is an end.
    while True:
        try:
            found = socket.create_connection(("127.0.0.1", port), 1)
        except (ConnectionRefusedError, TimeoutError) as error:
            if time.monotonic() >= deadline:
                raise ChannelError("timeout", f"no server at port {port}") from error
            time.sleep(0.01)
        else:
            found.settimeout(None)
            return found


# ---- The control language (spec/conformance.md), one request at a time. It is complete.

Json = dict[str, Any]


class Testee:
    """Does what it is told. A request fills in its answer as far as it comes."""

    channel: Channel | None = None

    def run(self) -> None:
        """Serve the requests on the standard input until it ends."""
        say(language=1, name="my client", version="0.1", can=CAN)
        for line in sys.stdin:
            request = json.loads(line)
            answer: Json = {"id": request["id"]}
            self._serve(request, answer)
            say(**answer)
        self.do_close({}, {})

    def _serve(self, request: Json, answer: Json) -> None:
        do = getattr(self, f"do_{request['do']}")  # one that is unknown ends this program
        try:
            do(request, answer)
        except ChannelError as error:
            answer |= {"error": error.code, "text": str(error)}
        except OSError as error:
            answer |= {"error": "other", "text": str(error)}
        reads = request["do"] in ("read", "drain", "echo")
        if reads and self.channel and self.channel.end:
            answer["end"] = self.channel.end

    def do_connect(self, request: Json, answer: Json) -> None:
        self.do_close({}, {})
        self.channel = None  # also if this one fails
        # TODO: max_message_size (FRM-11) and linger (SES-50); bad-option if out of range.
        if (timeout := request.get("timeout", 10)) < 0:
            raise ChannelError("bad-option", f"timeout is {timeout}")
        if "in" not in request:
            request |= {
                "in": variable("IPC_CHANNEL_IN"),
                "out": variable("IPC_CHANNEL_OUT"),
            }
        self.channel = Channel(request["in"], request["out"], timeout)

    def do_read(self, request: Json, answer: Json) -> None:
        if message := self._connected().read():
            digest = hashlib.sha256(message).hexdigest()
            answer["message"] = {"size": len(message), "sha256": digest}

    def do_write(self, request: Json, answer: Json) -> None:
        pattern, sizes = bytes.fromhex(request["pattern"]), request["sizes"]
        for size in islice(cycle(sizes), request.get("count", len(sizes))):
            self._connected().write((pattern * (size // len(pattern) + 1))[:size])

    def do_drain(self, request: Json, answer: Json) -> None:
        digest = hashlib.sha256()
        for number, message in enumerate(self._messages(answer), 1):
            digest.update(len(message).to_bytes(4, "big") + message)
            answer["messages"] = number
        answer["sha256"] = digest.hexdigest()

    def do_echo(self, request: Json, answer: Json) -> None:
        for number, message in enumerate(self._messages(answer), 1):
            self._connected().write(message)
            answer["messages"] = number

    def _messages(self, answer: Json) -> Iterator[bytes]:
        answer["messages"] = 0
        while message := self._connected().read():
            yield message

    def do_close(self, request: Json, answer: Json) -> None:
        if self.channel:
            self.channel.close()

    def _connected(self) -> Channel:
        if self.channel is None:
            raise ChannelError("not-connected", "there is no channel")
        return self.channel


def variable(name: str) -> str:
    """Return a variable of the environment (RDV-7)."""
    if value := os.environ.get(name):
        return value
    raise ChannelError("bad-rendezvous", f"{name} is not set")  # RDV-8


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    Testee().run()
