"""Runs the event loop of a blocking channel in the threads that wait for something.

The sessions, transports and helpers of this package are written for an event loop. The
loop of a blocking channel is driven by the threads that are in its methods: each runs the
loop until what it waits for has come about. So there is one implementation of everything,
and no thread per channel.

Any number of threads may wait. One of them *leads*: it polls the descriptors, without the
lock, and then, with the lock, runs the callbacks of what is ready. The others *follow*:
they sleep until the leader has run something. When the leader leaves, a follower leads::

    ┌─> with the lock: run what is due; is what I wait for there? ──yes──> leave
    │      │ no
    │      ├── no other thread leads: poll without the lock ──┐
    │      └── another thread leads: sleep ───────────────────┤
    └─────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from threading import get_ident
from typing import Any, TypeVar

from ipc_channel import fork
from ipc_channel.errors import CallTimeoutError
from ipc_channel.sync.caller_loop import LONGEST_PAUSE, CallerLoop
from ipc_channel.sync.slices import slice_of
from ipc_channel.sync.spinning import SpinningPoller
from ipc_channel.sync.waker import Waker

_T = TypeVar("_T")
NOBODY = 0  # no thread has this number


def in_handler() -> RuntimeError:
    """Return the error of a signal handler that cannot be served."""
    return RuntimeError(
        "this signal handler uses a channel that the interrupted code is using;"
        " have it set a flag or raise an exception"
    )


class Driver:
    """The loop of a channel, its lock, and the threads that wait in it."""

    _waker: Waker | None = None

    def __init__(self) -> None:
        self.loop = CallerLoop(  # type: ignore[abstract]  # has what this package needs
            weakref.WeakMethod(self._on_change)
        )
        self.poller = SpinningPoller(self.loop.poller)
        self._users: set[object] = set()
        self._closed = False
        self._begin()
        fork.in_child(self, Driver._begin)
        if not self.loop.poller.is_live:
            self._make_waker()

    def _begin(self) -> None:
        """Start without any thread inside: at first, and in a forked child."""
        self.lock = threading.RLock()
        """Held by the thread that uses the loop, or anything that belongs to it."""
        self._round_over = threading.Condition(self.lock)
        self.waiting: set[object] = set()
        """Stands for the threads that wait: one token for each of their calls."""
        self.leader = NOBODY
        """The thread that polls, or is about to."""
        self.writer: object | None = None
        """The writer that waits until the kernel has what it has queued."""

    def check(self) -> None:
        """Refuse a signal handler that has interrupted this thread in the loop."""
        if self.loop.busy:
            raise in_handler()

    def run(self, work: Coroutine[Any, Any, _T], timeout: float | None = None) -> _T:
        """Run a coroutine in the loop, and return what it returns.

        Cancels it after ``timeout`` seconds, or if this thread is interrupted, and waits
        until it has cleaned up. Raises TimeoutError if that has ended it.
        """
        task, resume = self._begun(work)
        try:
            if not self.wait(task.done, timeout):
                self._cancel(task, resume)
                if task.cancelled():
                    raise CallTimeoutError(f"not done within {timeout} s")
        except BaseException:
            self._cancel(task, resume)
            if not task.cancelled():
                task.exception()  # retrieved, or else asyncio logs it
            raise
        return task.result()

    def _begun(
        self, work: Coroutine[Any, Any, _T]
    ) -> tuple[asyncio.Task[_T], Callable[[], object]]:
        with self.lock:
            try:
                self.check()
                return self.loop.begin(work)
            except BaseException:
                self.loop.withdraw(work)
                work.close()
                raise

    def call(self, function: Callable[[], object]) -> None:
        """Call a function as the loop does."""

        async def work() -> None:
            function()

        self.run(work())

    def look(self) -> None:
        """Take note of what is ready, without waiting."""
        if not self._closed:
            self.wait(lambda: False, 0)

    def _cancel(self, task: asyncio.Task[Any], resume: Callable[[], object]) -> None:
        with self.lock:
            self.check()
            task.cancel()

        def has_ended() -> bool:
            self.loop.remember(task, resume)
            return task.done()

        self.wait(has_ended)

    def wait(self, is_done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Run the loop until ``is_done``, called with the lock, is true.

        Returns False if that has not come about after ``timeout`` seconds; with 0, it
        looks once for what is ready.
        """
        deadline = None if timeout is None else self.loop.time() + timeout
        me, token = get_ident(), object()
        is_nested = self.leader == me  # a signal handler has interrupted our own poll
        ready: Sequence[tuple[int, int]] = ()
        pause: float | None = 0
        has_looked = False
        try:
            while True:
                with self.lock:
                    self.waiting.add(token)
                    if self._step(ready, is_done):
                        return True
                    if self.loop.is_closed():
                        return False  # another thread has freed it just before
                    if has_looked and deadline is not None and deadline <= self.loop.time():
                        return False
                    if leads := self.leader in (NOBODY, me):
                        self.leader = me  # first: from now on changes wake this thread
                        pause = self.loop.pause(deadline)
                    else:
                        self._follow(deadline)
                ready = self.poller.poll(pause) if leads else ()
                has_looked = True
        finally:
            try:
                self.leave(token, is_nested)
            except BaseException:  # of a signal handler: the others wait for this
                self.leave(token, is_nested)
                raise

    def _step(self, ready: Sequence[tuple[int, int]], is_done: Callable[[], bool]) -> bool:
        self.check()
        called = True
        try:
            self.loop.busy = True
            called = self.loop.run_round(ready)
            return is_done()
        finally:
            self.loop.busy = False
            if called and len(self.waiting) > 1:
                self.have_others_look()  # also if what this thread waits for has failed

    def _follow(self, deadline: float | None) -> None:
        left = None
        if deadline is not None:
            left = max(min(deadline - self.loop.time(), LONGEST_PAUSE), 0)
        self._round_over.wait(slice_of(left))

    def leave(self, token: object, is_nested: bool) -> None:
        """Stop waiting, and let another thread lead, if there is one."""
        with self.lock:
            self.waiting.discard(token)
            if self.leader == get_ident() and not is_nested:
                self.leader = NOBODY
            if self.waiting:
                self._round_over.notify()
                if is_nested:
                    self._wake()  # the interrupted poll looks at what was done meanwhile
            elif self._closed:
                self._free()

    def have_others_look(self) -> None:
        """Make every other thread look whether what it waits for has come about.

        Call it with the lock.
        """
        if self.waiting:
            self._round_over.notify_all()
            self._on_change()

    def _on_change(self) -> None:
        if self.leader not in (NOBODY, get_ident()):
            self._wake()

    def _wake(self) -> None:
        with self.lock:
            if self.loop.is_closed():
                return  # all threads have left meanwhile
            if self._waker is None:
                self._make_waker()
            assert self._waker is not None
            self._waker.wake()

    def _make_waker(self) -> None:
        waker = Waker()
        try:
            self.loop.add_reader(waker.fileno(), waker.drain)
            self._waker = waker  # only now: one that is not watched would wake nobody
        except BaseException:
            self.loop.remove_reader(waker.fileno())
            waker.close()
            raise

    def acquire(self) -> object:
        """Keep the loop until the returned object is passed to :meth:`release`."""
        with self.lock:
            self._users.add(user := object())
            self._closed = self.loop.is_closed()
        return user

    def release(self, user: object) -> None:
        """Free the loop if nothing else keeps it, and no thread waits in it any more."""
        with self.lock:
            self._users.discard(user)
            if not self._users:
                self._closed = True
                self.have_others_look()
                if not self.waiting:
                    self._free()

    def __del__(self) -> None:
        if hasattr(self, "loop"):  # or else there was no descriptor for it
            self._free()

    def _free(self) -> None:
        self.loop.close()
        if self._waker is not None:
            self._waker.close()
            self._waker = None
