"""An event loop that does one round when it is told to: callbacks, timers, descriptors."""

from __future__ import annotations

import asyncio
import functools
import heapq
import logging
import time
from asyncio.events import _get_running_loop, _set_running_loop
from asyncio.tasks import _enter_task, _leave_task
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context
from itertools import repeat
from typing import Any, TypeVar, TypeVarTuple
from weakref import WeakMethod

from ipc_channel import fork
from ipc_channel.log import safely
from ipc_channel.sync.poller import READ, WRITE, make_poller

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_Call = tuple[Callable[..., Any], tuple[Any, ...]]

LONGEST_PAUSE = 24 * 3600.0
"""Seconds that a thread sleeps at most; epoll takes no more than 24 days."""
_logger = logging.getLogger("ipc_channel")


class CallerLoop(asyncio.AbstractEventLoop):
    """What the package needs of an event loop, for a driver that runs its rounds.

    Only the thread that holds the driver's lock may use it, but for
    :meth:`call_soon_threadsafe`. ``on_change`` is called when a thread that polls ought
    to notice something new.
    """

    is_level_triggered = True

    def __init__(self, on_change: WeakMethod[Callable[[], None]]) -> None:
        self._on_change = on_change
        self.poller = make_poller()
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []  # a heap
        self._readers: dict[int, _Call] = {}
        self._writers: dict[int, _Call] = {}
        self.busy = False
        """Whether a thread is inside: set by the driver, with its lock."""
        self._closed = False
        fork.in_child(self, CallerLoop.leave)

    def run_round(self, ready: Sequence[tuple[int, int]]) -> bool:
        """Call what waits for the descriptors in ``ready``, and all else that is due.

        Returns whether anything was called.
        """
        if not (ready or self._ready or self._timers):
            return False
        # A blocking call stops a loop that runs in this thread for as long as it takes, which
        # may be what the program wants: in a notebook, for instance.
        outer = _get_running_loop()
        task = None if outer is None else asyncio.current_task(outer)
        try:
            if outer is not None and task is not None:
                _leave_task(outer, task)
            _set_running_loop(self)
            for fd, events in ready:
                self._call_for(fd, events)
            self._move_due_timers()
            due = len(self._ready)
            self._run_ready(due)
        finally:
            _set_running_loop(outer)
            if outer is not None and task is not None:
                _enter_task(outer, task)
        return bool(ready or due)

    def _run_ready(self, count: int) -> None:
        """Do what ``Handle._run`` does, but lose no callback if a signal handler raises.

        An iterator, unlike a call, leaves no moment at which it could raise between taking
        a callback and calling it.
        """
        handle: Any
        for handle in map(deque.popleft, repeat(self._ready, count)):
            if handle._cancelled:
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # noqa: BLE001  # as in a Handle
                self._on_failure(handle._callback, error)

    def is_idle(self) -> bool:
        """Whether there is nothing to do until a descriptor is ready."""
        if self._ready:
            return False
        while self._timers and self._timers[0].cancelled():
            heapq.heappop(self._timers)
        return not self._timers

    def pause(self, deadline: float | None) -> float | None:
        """Return the seconds until there is something to do without any descriptor."""
        if self._ready:
            return 0
        times = [] if deadline is None else [deadline]
        times += [timer.when() for timer in self._timers[:1]]
        return max(min(min(times) - self.time(), LONGEST_PAUSE), 0) if times else None

    def begin(
        self, work: Coroutine[Any, Any, _T]
    ) -> tuple[asyncio.Task[_T], Callable[[], object]]:
        """Return a task that runs ``work``, and what resumes it, for :meth:`remember`."""
        task = self.create_task(work)
        handle: Any = self._ready[-1]
        return task, handle._callback

    def withdraw(self, work: Coroutine[Any, Any, Any]) -> None:
        """Forget the task that runs ``work``, if an interrupted :meth:`begin` made one."""
        handle: Any
        for handle in list(self._ready):
            task = getattr(handle._callback, "__self__", None)
            if isinstance(task, asyncio.Task) and task.get_coro() is work:
                handle.cancel()
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio does

    def remember(self, task: asyncio.Task[Any], resume: Callable[[], object]) -> None:
        """Resume a task that waits for something that is done, if nothing else will.

        If a signal handler has raised just then, asyncio may not have scheduled that.
        """
        waiter = getattr(task, "_fut_waiter", None)
        if waiter is not None and waiter.done() and not self._ready:
            self.call_soon(resume)

    def leave(self) -> None:
        """Forget everything in a forked child, which may have been made in a step."""
        self._closed, self.busy = True, False
        self._ready.clear()
        self._timers.clear()
        self._readers.clear()
        self._writers.clear()

    def _tell_change(self) -> None:
        if (on_change := self._on_change()) is not None:
            on_change()

    def close(self) -> None:
        self._closed = True
        self.poller.close()

    def _call_for(self, fd: int, events: int) -> None:
        # An error or a hang-up is for both. One of the calls may remove the other.
        if events & ~WRITE and (call := self._readers.get(fd)) is not None:
            self._call(*call)
        if events & ~READ and (call := self._writers.get(fd)) is not None:
            self._call(*call)

    def _call(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            callback(*args)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # as in a Handle
            self._on_failure(callback, error)

    def _on_failure(self, callback: object, error: BaseException) -> None:
        text = f"exception in callback {callback}"
        self.call_exception_handler({"message": text, "exception": error})

    def _move_due_timers(self) -> None:
        timers = self._timers
        while timers and (timers[0].cancelled() or timers[0].when() <= self.time()):
            # In this order: if a signal handler raises in between, nothing is lost.
            if not timers[0].cancelled():
                self._ready.append(timers[0])
            heapq.heappop(timers)

    # What follows is called by asyncio and by the rest of the package.

    def time(self) -> float:
        return time.monotonic()

    def is_running(self) -> bool:
        return self.busy

    def is_closed(self) -> bool:
        return self._closed

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, _T] | Coroutine[Any, Any, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[_T]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_soon(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        handle = self.call_soon(callback, *args, context=context)
        self._tell_change()
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by a timer; it stays in the heap until its time."""

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        self._readers[fd] = callback, args
        self._watch(fd)

    def add_writer(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        self._writers[fd] = callback, args
        self._watch(fd)

    def remove_reader(self, fd: Any) -> bool:
        if was_there := fd in self._readers:
            del self._readers[fd]
            self._watch(fd)
        return was_there

    def remove_writer(self, fd: Any) -> bool:
        if was_there := fd in self._writers:
            del self._writers[fd]
            self._watch(fd)
        return was_there

    def _watch(self, fd: int) -> None:
        read = READ if fd in self._readers else 0
        self.poller.watch(fd, read | (WRITE if fd in self._writers else 0))
        if not self.poller.is_live:
            self._tell_change()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        log = functools.partial(_logger.error, exc_info=error)
        safely(log, "%s", context["message"])
