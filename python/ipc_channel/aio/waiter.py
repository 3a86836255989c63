"""Futures that tasks wait for, and how they are woken.

A signal handler can raise an exception while a task is being woken. The future may be
complete by then, but the loop may not have scheduled the task, which would then wait
for ever. So in that case the functions below make the loop check the task again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

Waiter = asyncio.Future[None]
_Callbacks = Iterable[tuple[Callable[[Waiter], object], Context]]


def wake(waiter: Waiter) -> bool:
    """Complete ``waiter``; return False if it was done, or its loop is closed."""
    if waiter.done() or waiter.get_loop().is_closed():
        return False
    callbacks = waiter._callbacks
    try:
        waiter.set_result(None)
    except BaseException:
        _look_again(waiter, callbacks or ())
        raise
    return True


def deliver(waiter: Waiter) -> bool:
    """Complete ``waiter``, and run the task that waits for it until it waits again.

    Returns whether a task waits for it. The loop itself would resume the task only in
    its next iteration, after another poll of all descriptors. That iteration costs
    more than everything else that is done for a small message.

    Call this only from a callback of the loop, not from a task, and as its last step:
    the task may call the code that led here.
    """
    callbacks = waiter._callbacks
    if not callbacks or len(callbacks) > 1:
        wake(waiter)
        return bool(callbacks)
    ((callback, context),) = callbacks
    try:
        waiter.remove_done_callback(callback)
        waiter.set_result(None)
        context.run(callback, waiter)
    except BaseException:  # from the task, or a signal handler just before it
        if waiter.done():
            _look_again(waiter, callbacks)
        elif not waiter._callbacks:
            waiter.add_done_callback(callback, context=context)
        raise
    return True


def _look_again(waiter: Waiter, callbacks: _Callbacks) -> None:
    """Make the loop check in its next iteration whether the task was woken.

    Scheduled twice, for the reason that :class:`NextTurn` gives.
    """
    if waiter.done():
        for _ in range(2):
            waiter.get_loop().call_soon(_rouse, waiter, callbacks)


def _rouse(waiter: Waiter, callbacks: _Callbacks) -> None:
    for callback, context in callbacks:
        task: Any = getattr(callback, "__self__", None)
        # A task that has been resumed no longer refers to the future it waited for.
        if getattr(task, "_fut_waiter", None) is waiter:
            context.run(callback, waiter)


class NextTurn:
    """Makes ``loop`` call ``callback`` once in its next iteration, however often asked.

    The call is scheduled twice, since the loop forgets a callback when it calls it: if a
    signal handler raises at the very entry of the first, the second does the work. If
    ``callback`` raises, it is called again in the iteration after that.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._number = 0  # of the last request, or of the call that it led to

    def ask(self) -> None:
        self._number += 1
        for _ in range(2):
            self._loop.call_soon(self._call, self._number)

    def _call(self, number: int) -> None:
        if number != self._number:
            return  # the first of the two has done it
        try:
            self._number += 1
            self._callback()
        except BaseException:
            self.ask()
            raise
