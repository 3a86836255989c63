"""The blocking Python client as a testee: ``python -m ipc_channel.conformance.sync_testee``.

A thread serves the requests that read, in their order; another one those that write. Each
``connect``, ``close``, ``call`` and ``serve`` has a thread of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from ipc_channel.conformance.request_handler import handle_blocking
from ipc_channel.errors import ConnectInProgressError, IPCChannelError, NotConnectedError
from ipc_channel.sync import (
    IPCChannelClient,
    RequestChannel,
    from_environment,
    make_ipc_channel_client,
    request_cancelled,
)
from ipc_channel.transports.registry import usable_types

Told = dict[str, Any]
ABILITIES = ["concurrent", "max_message_size", "linger", "peer_user", "requests"]
READS = ("read", "drain", "echo", "serve")  # what learns how the session has ended
MAKE = ("connect", "call", "serve")  # what makes something of options, which may be bad


class Lane:
    """A thread that serves requests one after the other."""

    def __init__(self, serve: Callable[[Told], None]) -> None:
        self._queue: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
        self._serve = serve
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def put(self, told: Told) -> None:
        self._queue.put(told)

    def finish(self) -> None:
        """Wait until all requests are answered."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (told := self._queue.get()) is not None:
            self._serve(told)


class Testee:
    """Handles requests in threads."""

    def __init__(self) -> None:
        self.channel: IPCChannelClient | None = None
        self._connecting: IPCChannelClient | None = None
        self._requests: RequestChannel | None = None  # over that channel
        self._requests_made = threading.Lock()
        self._connects = threading.Lock()  # held by the connect that is under way
        lanes = {"read": Lane(self._serve), "write": Lane(self._serve)}
        self._lanes = {**lanes, "drain": lanes["read"], "echo": lanes["read"]}

    def run(self) -> None:
        """Serve the requests on the standard input until it ends."""
        say(
            language=1,
            name="blocking Python ipc-channel",
            version=sys.version.split()[0],
            can=[one.name for one in usable_types()] + ABILITIES,
        )
        for line in sys.stdin:
            told = json.loads(line)
            told["channel"] = self.channel
            if (lane := self._lanes.get(told["do"])) is not None:
                lane.put(told)
            else:
                begun = told["begun"] = threading.Event()
                threading.Thread(target=self._serve, args=[told]).start()
                begun.wait()
        for channel in (self._connecting, self.channel):
            if channel is not None:
                channel.close()
        for lane in self._lanes.values():
            lane.finish()

    def _serve(self, told: Told) -> None:
        channel = told["channel"]
        try:
            answer: Told = getattr(self, f"do_{told['do']}")(told)
        except IPCChannelError as error:
            answer = {"error": error.code, "text": str(error)}
            if told["do"] in READS and (end := _end(channel)):
                answer["end"] = end
        except (TypeError, ValueError) as error:
            if told["do"] not in MAKE:
                _give_up()
            answer = {"error": "bad-option", "text": str(error)}
        except OSError as error:
            answer = {"error": "other", "text": str(error)}
        except BaseException:  # noqa: BLE001  # whatever it is, the suite has to see it
            _give_up()
        say(id=told["id"], **answer)

    def do_connect(self, told: Told) -> Told:
        if not self._connects.acquire(blocking=False):
            told["begun"].set()
            raise ConnectInProgressError("another connect waits")
        try:
            before, self.channel, self._requests = self.channel, None, None
            channel = None
            try:
                if before is not None:
                    before.close()
                channel = self._connecting = _make(told)
            finally:
                told["begun"].set()
            return self._connect(channel, told)
        finally:
            self._connecting = None
            self._connects.release()

    def _connect(self, channel: IPCChannelClient, told: Told) -> Told:
        try:
            if channel.connect(told.get("timeout", 10)):
                self.channel = channel
                return {}
        finally:
            if self.channel is not channel:
                channel.close()
        missed = channel.last_exception
        return {"error": "cancelled" if missed is None else "timeout", "text": str(missed)}

    def do_read(self, told: Told) -> Told:
        channel = _connected(told)
        message = channel.read()
        if message is None:
            return {"end": _end(channel)}
        digest = hashlib.sha256(message).hexdigest()
        return {"message": {"size": len(message), "sha256": digest}}

    def do_write(self, told: Told) -> Told:
        pattern, sizes = bytes.fromhex(told["pattern"]), told["sizes"]
        for size in islice(cycle(sizes), told.get("count", len(sizes))):
            _connected(told).write((pattern * (size // len(pattern) + 1))[:size])
        return {}

    def do_drain(self, told: Told) -> Told:
        channel, count, digest = _connected(told), 0, hashlib.sha256()
        for message in channel:
            count += 1
            digest.update(len(message).to_bytes(4, "big") + message)
        return {"messages": count, "sha256": digest.hexdigest(), "end": _end(channel)}

    def do_echo(self, told: Told) -> Told:
        channel, count = _connected(told), 0
        for message in channel:
            channel.write(message)
            count += 1
        return {"messages": count, "end": _end(channel)}

    def do_call(self, told: Told) -> Told:
        requests = self._requests_of(told)
        answer = requests.call(bytes.fromhex(told["payload"]))
        return {"payload": answer.hex()}

    def do_serve(self, told: Told) -> Told:
        requests = self._requests_of(told)
        answered: list[bytes] = []

        def count(payload: bytes) -> bytes:
            try:
                return handle_blocking(payload, requests.call, request_cancelled)
            finally:
                answered.append(payload)

        requests.serve(count, concurrency=told.get("concurrency", 1))
        return {"answered": len(answered), "end": _end(told["channel"])}

    def _requests_of(self, told: Told) -> RequestChannel:
        """Return the requests of the channel, which the first ``call`` or ``serve`` makes."""
        try:
            with self._requests_made:
                if self._requests is None:
                    self._requests = RequestChannel(_connected(told))
                return self._requests
        finally:
            told["begun"].set()

    def do_close(self, told: Told) -> Told:
        channels = (self._connecting, self.channel)
        told["begun"].set()
        for channel in channels:
            if channel is not None:
                channel.close()
        return {}


def _make(told: Told) -> IPCChannelClient:
    options = {key: told[key] for key in ("max_message_size", "linger") if key in told}
    paths = (told["in"], told["out"]) if "in" in told else from_environment()
    return make_ipc_channel_client(*paths, **options)


def _connected(told: Told) -> IPCChannelClient:
    channel: IPCChannelClient | None = told["channel"]
    if channel is None:
        raise NotConnectedError("told to use a channel before connecting")
    return channel


def _end(channel: IPCChannelClient | None) -> str | None:
    """Return the end reason of the session, or None."""
    end = None if channel is None else channel.end_reason
    return None if end is None else str(end)


_saying = threading.Lock()


def say(**what: Any) -> None:
    """Print one answer."""
    with _saying:
        print(json.dumps(what), flush=True)


def _give_up() -> None:
    """End the testee because of a mistake of its own or of the suite."""
    sys.excepthook(*sys.exc_info())
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    Testee().run()


if __name__ == "__main__":
    main()
