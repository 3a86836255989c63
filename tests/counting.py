"""Event loops that cancel a task at each point at which a task can be cancelled."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from ipc_channel import HelperError

if sys.platform != "win32":
    import uvloop


class Counting:
    """A loop that cancels a task after a number of callbacks have run in it.

    That is each point at which a task can be cancelled, and none of them depends on how
    fast the machine is.
    """

    _left = 0
    _times = 0
    _task: asyncio.Task[Any] | None = None
    cancelled = 0
    """How many times the task was cancelled before it had ended."""

    def cancel_after(self, count: int, task: asyncio.Task[Any], times: int = 1) -> None:
        """Cancel ``task`` after ``count`` callbacks, and again after each that follows."""
        self._left, self._task, self._times, self.cancelled = count, task, times, 0

    def disarm(self) -> None:
        self._task = None

    def _counted(self, callback: Callable[..., Any], *args: Any) -> None:
        try:
            callback(*args)
        finally:
            self._left -= 1
            if self._left <= 0 and self._times and self._task is not None:
                self._times -= 1
                self.cancelled += self._task.cancel()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        loop: Any = super()  # the loop that this is mixed into
        return loop.call_soon(self._counted, callback, *args, context=context)

    def call_at(self, when: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        loop: Any = super()  # the loop that this is mixed into
        return loop.call_at(when, self._counted, callback, *args, context=context)

    def call_later(self, delay: Any, callback: Any, *args: Any, context: Any = None) -> Any:
        loop: Any = super()  # the loop that this is mixed into
        return loop.call_later(delay, self._counted, callback, *args, context=context)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        loop: Any = super()  # the loop that this is mixed into
        loop.add_reader(fd, self._counted, callback, *args)

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> None:
        loop: Any = super()  # the loop that this is mixed into
        loop.add_writer(fd, self._counted, callback, *args)


def counting(base: type[Any]) -> Any:
    """Return a loop of the kind ``base`` that counts."""
    return type(base.__name__, (Counting, base), {})


def debugging() -> Any:
    loop = counting(asyncio.SelectorEventLoop)()
    loop.set_debug(True)
    loop.slow_callback_duration = 60  # a slow machine is no fault
    return loop


LOOPS = {
    "asyncio": counting(asyncio.SelectorEventLoop),
    "debug": debugging,
}
if sys.platform != "win32":
    LOOPS["uvloop"] = counting(uvloop.Loop)


async def cancelled_after(count: int, act: Callable[[], Coroutine[Any, Any, Any]]) -> bool:
    """Run ``act``; return whether it was cancelled, ``count`` callbacks after its begin."""
    loop: Any = asyncio.get_running_loop()

    async def armed() -> None:
        loop.cancel_after(count, asyncio.current_task())
        await act()

    try:
        await loop.create_task(armed())
    except HelperError:
        return False
    except asyncio.CancelledError:
        return True
    finally:
        loop.disarm()
    return False
