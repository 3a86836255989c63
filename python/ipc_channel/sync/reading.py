"""Reads a message in a thread."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

from ipc_channel.aio.session import Session
from ipc_channel.errors import CallTimeoutError
from ipc_channel.sync.driver import NOBODY, Driver
from ipc_channel.sync.poller import READ


def read(driver: Driver, session: Session, timeout: float | None) -> bytes | None:
    """Return the next message, or None at an orderly end; raise at any other end.

    An exception of a signal handler may come right after a message was taken off the
    queue. Then it is put back.
    """
    inbox, stream, thread = session.inbox, session.stream, get_ident()
    taken: list[bytes] = []

    def has_message_or_end() -> bool:
        if stream.thread != thread:
            stream.use_in_this_thread()
        message = inbox.read_nowait()
        if message is None:
            return inbox.is_over()
        taken.append(message)
        return True

    try:
        if not driver.wait(has_message_or_end, timeout):
            raise CallTimeoutError(f"no message came within {timeout} s")
        return taken[0] if taken else None
    except BaseException:
        if taken:
            _put_back(driver, session, taken[0])
        raise


def read_queued(driver: Driver, session: Session) -> bytes | None:
    """Return a message that has arrived; None if :func:`read` has to look for one."""
    inbox, stream, loop = session.inbox, session.stream, driver.loop
    message = None
    try:
        with driver.lock:
            if loop.busy:
                driver.check()
            if stream.thread != get_ident():
                stream.use_in_this_thread()
            try:
                loop.busy = True
                message = inbox.read_nowait()
            finally:
                loop.busy = False
    except BaseException:
        if message is not None:
            _put_back(driver, session, message)
        raise
    return message


def _put_back(driver: Driver, session: Session, message: bytes) -> None:
    with driver.lock:
        session.inbox.put_back(message)
        driver.have_others_look()


def lone_reader(driver: Driver, session: Session) -> Callable[[], bytes | None]:
    """Return a function that waits for input, and returns the message if it is just one.

    A short way for a thread that is alone, as nearly all are, while the loop has nothing
    else to do and no message has begun. Whatever else there is, the function returns None,
    and :func:`read` does the rest. It is a closure, and has few calls: looking up an
    attribute or calling a function costs as much as all that is done for a message.
    """
    lock, waiting, loop = driver.lock, driver.waiting, driver.loop
    poll, is_idle = driver.poller.poll, loop.is_idle
    stream, inbox, receiver = session.stream, session.inbox, session.receiver
    read_one, input_only = receiver.read_one, [(stream.in_fd(), READ)]

    def read() -> bytes | None:
        message, me, leads = None, get_ident(), False
        if stream.thread != me:
            return None
        try:
            with lock:
                if waiting or inbox.paused or not is_idle():
                    return None  # paused: at the end, too, after which nothing is ready
                leads = True  # first: from here on, there is something to undo
                waiting.add(me)
                driver.leader = me
            ready = poll(None)
            with lock:
                if ready == input_only and not loop.busy:
                    try:
                        loop.busy = True
                        message = read_one()
                    finally:
                        loop.busy = False
                if len(waiting) == 1:
                    waiting.clear()
                    driver.leader = NOBODY
                    leads = False
                else:
                    driver.have_others_look()
            return message
        except BaseException:
            if message is not None:
                _put_back(driver, session, message)
            raise
        finally:
            try:
                if leads:
                    driver.leave(me, is_nested=False)
            except BaseException:  # of a signal handler: the others wait for this
                driver.leave(me, is_nested=False)
                raise

    return read
