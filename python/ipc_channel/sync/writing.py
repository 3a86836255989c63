"""Writes messages in a thread.

A message that the kernel does not take at once stays in the sender's queue, and the thread
that wrote it waits until the queue is empty. As long as it does, it is the only writer
(``driver.writer``), so all that is queued is its own, and may be withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING

from ipc_channel.aio.large_messages import JOINED
from ipc_channel.aio.sender import WRITE_AHEAD
from ipc_channel.aio.session import Session
from ipc_channel.errors import CallTimeoutError, UnfinishedWriteError
from ipc_channel.protocol.framing import HEADER_SIZE, encode_header, message_bytes
from ipc_channel.sync.driver import Driver, in_handler

if TYPE_CHECKING:
    from typing_extensions import Buffer


def write_at_once(
    driver: Driver, session: Session, data: bytes, timeout: float | None
) -> bool:
    """Write a small message if nothing is in its way; else leave it to :func:`write`.

    The short way of nearly all messages.
    """
    loop, sender, stream, size = driver.loop, session.sender, session.stream, len(data)
    if not 0 < size <= JOINED or size > sender.max_message_size:
        return False
    frame = encode_header(size) + data
    begun = None
    try:
        with driver.lock:
            if sender.size or sender.state.write_error or driver.writer or loop.busy:
                return False
            if stream.thread != get_ident():
                return False
            try:
                loop.busy = True
                count = stream.write((frame,))
                if count < len(frame):
                    begun = driver.writer = _Writer(driver, session, ())
                    sender.queue.append(memoryview(frame)[count:])
                    sender.size = len(frame) - count
                    sender.flush()
            except (BlockingIOError, InterruptedError):  # the other way waits for room
                return False
            except OSError as error:  # the kernel reports a reset only once (SES-3)
                sender.on_error(error)
                return False
            except BaseException as error:
                sender.on_interrupt(error)
                raise
            finally:
                loop.busy = False
        if begun:
            begun.finish(timeout)
    finally:
        try:
            if begun:
                begun.leave()
        except BaseException:  # of a signal handler: the other writers wait for this
            if begun:
                begun.leave()
            raise
    return True


def write(
    driver: Driver,
    session: Session,
    data: Buffer,
    timeout: float | None,
    on_not_sent: Callable[[], object] | None = None,
) -> None:
    """Write one message; return once the kernel has all of it.

    If it raises anything, and no byte was sent, it calls ``on_not_sent``.
    """
    payload = message_bytes(data, session.sender.max_message_size)
    writer = _Writer(driver, session, [payload])
    try:
        writer.write(timeout)
    except BaseException:
        if on_not_sent is not None and not writer.is_begun:
            on_not_sent()
        raise


def write_many(
    driver: Driver, session: Session, messages: Iterable[Buffer], timeout: float | None
) -> None:
    """Write messages, as many at a time as fit into the queue."""
    clock, limit = driver.loop.time, session.sender.max_message_size
    deadline = None if timeout is None else clock() + timeout
    batch: list[bytes] = []
    size = sent = 0

    def write_batch() -> None:
        left = None if deadline is None else max(deadline - clock(), 0)
        _Writer(driver, session, batch, sent).write(left)

    for message in messages:
        batch.append(message_bytes(message, limit))
        size += HEADER_SIZE + len(batch[-1])
        if size > WRITE_AHEAD:
            write_batch()
            sent += len(batch)
            batch, size = [], 0
    if batch:
        write_batch()


class _Writer:
    """A thread that writes messages and waits until the kernel has them."""

    def __init__(
        self, driver: Driver, session: Session, messages: Sequence[bytes], before: int = 0
    ) -> None:
        self._driver = driver
        self._stream = session.stream
        self._sender = session.sender
        self._messages = messages
        self._before = before  # messages that the same call has sent
        self._thread = get_ident()
        self.is_begun = False
        """Whether a part of the messages was sent, or will be."""

    def write(self, timeout: float | None) -> None:
        """Write all; raise TimeoutError after ``timeout`` seconds."""
        clock = self._driver.loop.time
        begun = clock()
        try:
            if not self._driver.wait(self._begins, timeout):
                raise self._not_sent()
            self.finish(None if timeout is None else max(begun + timeout - clock(), 0))
        finally:
            try:
                self.leave()
            except BaseException:  # of a signal handler: the other writers wait for this
                self.leave()
                raise

    def finish(self, timeout: float | None) -> None:
        """Wait until the kernel has all."""
        if not self._driver.wait(self._has_finished, timeout):
            raise self._unfinished()
        if self._sender.state.write_error is not None:
            raise self._sender.state.refusal()

    def _begins(self) -> bool:
        """Queue the messages unless others are queued; return whether they are."""
        if self._stream.thread != self._thread:
            self._stream.use_in_this_thread()
        sender, driver = self._sender, self._driver
        writer = driver.writer
        if isinstance(writer, _Writer) and writer._thread == self._thread:  # noqa: SLF001
            raise in_handler()  # it would wait for the write that it has interrupted
        if sender.state.write_error is None and (driver.writer or sender.size):
            return False
        driver.writer = self
        self.is_begun = True
        sender.hold_back()
        for message in self._messages:
            waiting = sender.write(message)
            if waiting is not None:
                waiting.close()  # this thread waits in its own way
        sender.end_turn()
        return True

    def _has_finished(self) -> bool:
        return not self._sender.size or self._sender.state.write_error is not None

    def _unfinished(self) -> TimeoutError:
        with self._driver.lock:
            left = self._sender.size
            if self._withdraw():
                return self._not_sent()
        error = UnfinishedWriteError(
            f"{left} bytes were left when the time was over; the next calls send them: do not"
            " write the message again"
        )
        error.sent = self._before + max(len(self._messages), 1)
        return error

    def _not_sent(self) -> CallTimeoutError:
        error = CallTimeoutError("not sent: the peer did not read within the timeout")
        error.sent = self._before
        return error

    def _withdraw(self) -> bool:
        """Take the messages back if no byte of them was sent."""
        size = sum(HEADER_SIZE + len(message) for message in self._messages)
        sender = self._sender
        if self._driver.writer is not self or sender.size != size:
            return False
        if sender.state.write_error is not None:
            return False  # a close frame may have come behind a part of the message
        sender.drop()
        self.is_begun = False
        return True

    def leave(self) -> None:
        """Let another thread write; withdraw what could not be sent."""
        with self._driver.lock:
            if self._driver.writer is self:
                if self._sender.size and not self._withdraw():
                    self._sender.end_turn()  # it may have been interrupted before that
                self._driver.writer = None
                self._driver.have_others_look()
