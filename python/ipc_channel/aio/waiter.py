"""Futures that tasks wait for, and how they are woken.

A signal handler can raise an exception as a task is being woken. The future is
complete by then, but the loop may not know yet that the task is to go on; the task
would wait for ever. So whoever wakes a task has the loop look again in that case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

Waiter = asyncio.Future[None]
_Callbacks = Iterable[tuple[Callable[[Waiter], object], Context]]


def wake(waiter: Waiter) -> bool:
    """Complete ``waiter``; return False if it was done, or its loop has gone."""
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
    """Complete ``waiter``, and run the task that waits for it up to where it waits again.

    Returns whether anything waits for it. The loop would have the task go on in its next
    turn, after another look at all descriptors. That turn costs more than all else that
    happens to a small message.

    Only a callback of the loop may do this, not a task, and last of all: the task may
    use whatever led here.
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
    except BaseException:  # of the task, or of a signal handler just before it
        if waiter.done():
            _look_again(waiter, callbacks)
        elif not waiter._callbacks:
            waiter.add_done_callback(callback, context=context)
        raise
    return True


def _look_again(waiter: Waiter, callbacks: _Callbacks) -> None:
    """Have the loop see in its next turn whether the task was woken.

    Twice, for the reason that :class:`NextTurn` gives.
    """
    if waiter.done():
        for _ in range(2):
            waiter.get_loop().call_soon(_rouse, waiter, callbacks)


def _rouse(waiter: Waiter, callbacks: _Callbacks) -> None:
    for callback, context in callbacks:
        task: Any = getattr(callback, "__self__", None)
        # A task forgets what it waited for as it goes on.
        if getattr(task, "_fut_waiter", None) is waiter:
            context.run(callback, waiter)


class NextTurn:
    """Has ``loop`` call ``callback`` in its next iteration, once however often it is asked.

    The loop is told twice, since it forgets a callback as it calls it: if an exception
    of a signal handler strikes at its very entry, the other one does the work. If
    ``callback`` raises, it is called again in the iteration after that.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._callback = callback
        self._number = 0  # of the last request, or of its call

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
