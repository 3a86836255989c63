"""A future whose task goes on in the very turn of the loop that completes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any


class Waiter(asyncio.Future[None]):
    """What a single task waits for.

    Completed with ``set_result`` or ``cancel`` it is like any future: its task
    goes on in the next turn of the loop, after another look at all
    descriptors. :meth:`deliver` spares that turn, which costs more than all
    else that happens to a small message.
    """

    resume: tuple[Callable[[Any], object], Context | None] | None = None
    """What has the waiting task go on; None before and after."""

    def add_done_callback(
        self, fn: Callable[[Any], object], /, *, context: Context | None = None
    ) -> None:
        if self.resume is None and not self.done():
            self.resume = fn, context  # the first is that of the waiting task
        else:
            super().add_done_callback(fn, context=context)

    def set_result(self, result: None, /) -> None:
        self._schedule()
        super().set_result(result)

    def cancel(self, msg: Any = None) -> bool:
        self._schedule()
        return super().cancel(msg)

    def deliver(self) -> None:
        """Complete, and run the waiting task up to where it waits again.

        Only a callback of the loop may do this, not a task, and last of all:
        the task may use whatever led here.
        """
        try:
            # First: cancelled from here on, the task goes on all the same.
            super().set_result(None)
            resume = self.resume
            if resume is not None:
                callback, context = resume
                self.resume = None
                if context is None:
                    callback(self)
                else:
                    context.run(callback, self)
        except BaseException:  # of the task, or of a signal handler just before it
            self._schedule()
            raise

    def _schedule(self) -> None:
        """Leave the task to the loop."""
        resume = self.resume
        if resume is None:
            return
        callback, context = resume
        try:
            super().add_done_callback(callback, context=context)
            self.resume = None
        except BaseException:  # of a signal handler, before or behind the call
            super().remove_done_callback(callback)
            raise
