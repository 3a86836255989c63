"""Many calls at once for a thread, with their answers in or out of order."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

from ipc_channel.sync.loop_thread import Work, take

_T = TypeVar("_T")
_R = TypeVar("_R")


def map_works(
    make: Callable[[_T], Work[_R]],
    submit: Callable[[Work[_R]], None],
    wait_for: Callable[[Work[_R]], _R],
    items: Iterable[_T],
    ahead: int,
    *,
    ordered: bool,
    return_exceptions: bool,
) -> Generator[_R | Exception, None, None]:
    """Begin a call for each item, and yield the results; at most ``ahead`` are not yielded.

    From before its beginning until its end each call is in ``calls``, so that an interrupt
    cancels it.
    """
    calls: _InOrder[_R] | _AsDone[_R] = _InOrder() if ordered else _AsDone()
    source: Iterator[_T] = iter(items)
    is_used_up = False
    try:
        while True:
            while not is_used_up and len(calls) < ahead:
                try:
                    item = next(source)
                except StopIteration:
                    is_used_up = True
                else:
                    work = make(item)
                    calls[work] = None
                    submit(work)
                    calls.watch(work)
            if not calls:
                return
            call = calls.next()
            try:
                result: _R | Exception = wait_for(call)
            except Exception as error:
                if not return_exceptions:
                    raise
                result = error
            del calls[call]
            yield result
    finally:
        for call in tuple(calls):
            call.cancel()


class _InOrder(dict[Work[_R], None]):
    """Calls that are not yielded, in the order of their beginning."""

    def watch(self, work: Work[_R]) -> None:
        pass

    def next(self) -> Work[_R]:
        return next(iter(self))


class _AsDone(dict[Work[_R], None]):
    """Calls that are not yielded, in the order of their ends."""

    def __init__(self) -> None:
        super().__init__()
        self._done: queue.SimpleQueue[Work[_R]] = queue.SimpleQueue()

    def watch(self, work: Work[_R]) -> None:
        work.future.add_done_callback(lambda _: self._done.put(work))

    def next(self) -> Work[_R]:
        return take(self._done)
