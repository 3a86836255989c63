"""Many calls at once for a thread, with their answers in or out of order."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from ipc_channel.sync.loop_thread import take

_T = TypeVar("_T")
_R = TypeVar("_R")


def map_futures(
    begin: Callable[[_T], Future[_R]],
    wait_for: Callable[[Future[_R]], _R],
    items: Iterable[_T],
    ahead: int,
    *,
    ordered: bool,
    return_exceptions: bool,
) -> Generator[_R | Exception, None, None]:
    """Begin a call for each item, and yield the results; at most ``ahead`` are not yielded."""
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
                    calls.add(begin(item))
            if not len(calls):
                return
            try:
                result: _R | Exception = wait_for(calls.take())
            except Exception as error:
                if not return_exceptions:
                    raise
                result = error
            yield result
    finally:
        calls.cancel()


class _InOrder(deque[Future[_R]]):
    """Calls that are not yielded, in the order of their beginning."""

    add = deque.append
    take = deque.popleft

    def cancel(self) -> None:
        for call in self:
            call.cancel()


class _AsDone(set[Future[_R]]):
    """Calls that are not yielded, in the order of their ends."""

    def __init__(self) -> None:
        super().__init__()
        self._done: queue.SimpleQueue[Future[_R]] = queue.SimpleQueue()

    def add(self, call: Future[_R]) -> None:
        super().add(call)
        call.add_done_callback(self._done.put)

    def take(self) -> Future[_R]:
        call = take(self._done)
        self.discard(call)
        return call

    def cancel(self) -> None:
        for call in tuple(self):
            call.cancel()
