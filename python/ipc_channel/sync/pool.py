"""A pool of helpers that answer requests, for programs without asyncio."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable, Coroutine, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, Literal, NoReturn, Self, TypeVar, overload

from ipc_channel import fork
from ipc_channel.codec import Codec, Received, Sent
from ipc_channel.errors import HelperError
from ipc_channel.helper.events import SupervisorEvent
from ipc_channel.options import check_count
from ipc_channel.pool import helper_pool as aio
from ipc_channel.pool.counters import PoolCounters
from ipc_channel.pool.makers import Command, Maker
from ipc_channel.sync.loop_thread import LoopThread, Work, wait_for
from ipc_channel.sync.mapping import map_works

_T = TypeVar("_T")


class HelperPool(Generic[Sent, Received]):
    """Helpers that answer requests, each supervised::

        with HelperPool(["./helper"], size=4) as pool:
            answer = pool.call(b"question", timeout=10, idempotent=True)
            for answer in pool.map(questions, idempotent=True):
                ...

    See :class:`ipc_channel.HelperPool`, whose arguments these are. Any number of threads may
    use it at once. Ctrl-C in a thread that waits cancels its call.

    Unlike all else in this module, it has a thread: helpers that are lost or recycled have
    to be started again between calls, too. The thread runs an event loop, from the
    beginning of the block until its end. It also runs the codec, and calls what was passed
    as ``on_event`` and ``on_progress``, and functions that make helpers, which return a
    :class:`ipc_channel.Helper`, not a blocking one. These should return soon, as no call
    goes on meanwhile, and must not call methods of the pool, which raise RuntimeError then.

    In a forked child all methods raise WrongProcessError.
    """

    def __init__(
        self,
        *helpers: Command | Maker,
        size: int | None = None,
        calls_per_helper: int = 4,
        retries: int = 2,
        recycle_calls: int | None = None,
        recycle_memory: int | None = None,
        stuck_after: float = 10.0,
        restarts: int | None = 5,
        period: float = 60.0,
        backoff: tuple[float, float] = (0.1, 30.0),
        on_event: Callable[[SupervisorEvent], object] | None = None,
        on_progress: Callable[[PoolCounters], object] | None = None,
        codec: Codec[Sent, Received] | None = None,
    ) -> None:
        self._pool = aio.HelperPool(
            *helpers,
            size=size,
            calls_per_helper=calls_per_helper,
            retries=retries,
            recycle_calls=recycle_calls,
            recycle_memory=recycle_memory,
            stuck_after=stuck_after,
            restarts=restarts,
            period=period,
            backoff=backoff,
            on_event=on_event,
            on_progress=on_progress,
            codec=codec,
        )
        self._owner = fork.this_process()
        self._thread: LoopThread | None = None

    @property
    def counters(self) -> PoolCounters:
        """What the pool has done so far."""
        return self._pool.counters

    @property
    def size(self) -> int:
        """How many helpers are to run at once."""
        return self._pool.size

    def call(
        self, payload: Sent, timeout: float | None = None, *, idempotent: bool = False
    ) -> Received:
        """Send a request to a helper, and return the answer.

        See :meth:`ipc_channel.HelperPool.call`. ``timeout`` is in seconds, from the moment
        at which a helper gets the call. A call that waits for a helper with room ends when
        there is one, when none is left, with :meth:`stop`, or with Ctrl-C.
        """
        return self._run(self._pool.call(payload, timeout, idempotent=idempotent))

    @overload
    def map(
        self,
        payloads: Iterable[Sent],
        *,
        timeout: float | None = None,
        idempotent: bool = False,
        ordered: bool = True,
        return_exceptions: Literal[False] = False,
        ahead: int | None = None,
    ) -> Generator[Received, None, None]: ...
    @overload
    def map(
        self,
        payloads: Iterable[Sent],
        *,
        timeout: float | None = None,
        idempotent: bool = False,
        ordered: bool = True,
        return_exceptions: bool,
        ahead: int | None = None,
    ) -> Generator[Received | Exception, None, None]: ...
    def map(
        self,
        payloads: Iterable[Sent],
        *,
        timeout: float | None = None,
        idempotent: bool = False,
        ordered: bool = True,
        return_exceptions: bool = False,
        ahead: int | None = None,
    ) -> Generator[Any, None, None]:
        """Call once for each of the payloads, and yield the answers.

        See :meth:`ipc_channel.HelperPool.map`. The thread that iterates takes the payloads:
        before each answer, as many as ``ahead`` allows. Leaving the iteration early cancels
        the calls that are left, once the generator is closed; ``contextlib.closing`` does
        that at once.
        """
        if ahead is not None:
            check_count("ahead", ahead)
        return map_works(
            lambda payload: Work(self._pool.call(payload, timeout, idempotent=idempotent)),
            self._submit,
            _wait_for,
            payloads,
            ahead or self._pool.usual_ahead,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )

    def drain(self) -> None:
        """Wait until no call waits or is in flight."""
        self._run(self._pool.drain())

    def resize(self, size: int) -> None:
        """Have another number of helpers from now on.

        See :meth:`ipc_channel.HelperPool.resize`.
        """
        self._run(self._pool.resize(size))

    def stop(self) -> None:
        """End all helpers; calls that they have, and calls that wait, fail.

        Afterwards the thread has ended. If interrupted, it kills the helpers at once.
        """
        self._owner.check()
        thread = self._thread
        if thread is None:
            return
        try:
            self._check_thread(thread)
            stopping = Work(self._pool.stop())
            try:
                if thread.submit(stopping):
                    with contextlib.suppress(concurrent.futures.CancelledError):
                        wait_for(stopping.future)  # cancelled by another stop
            except BaseException:
                stopping.cancel()
                raise
        finally:
            if not thread.runs_here:
                thread.close()

    def __enter__(self) -> Self:
        self._owner.check()
        if self._thread is not None:
            raise HelperError("the pool was entered already: make a new one")
        self._thread = LoopThread("ipc-channel pool")
        try:
            self._run(self._pool.__aenter__())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._owner.runs:  # a forked child leaves the block as well
            self.stop()

    def __repr__(self) -> str:
        return repr(self._pool)

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} can be neither copied nor pickled: only the process that has made a"
            " pool can use it; make one in each process"
        )

    def _run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine in the thread, and wait for it; if interrupted, cancel it."""
        work = Work(coroutine)
        try:
            self._submit(work)
            return _wait_for(work)
        except BaseException:
            work.cancel()
            raise

    def _submit(self, work: Work[Any]) -> None:
        """Begin ``work`` in the thread; raise if there is none."""
        try:
            self._owner.check()
            if self._thread is None:
                raise HelperError("the pool is not open: write 'with' around its use")
            self._check_thread(self._thread)
        except BaseException:
            work.drop()
            raise
        if not self._thread.submit(work):
            raise _stopped()

    @staticmethod
    def _check_thread(thread: LoopThread) -> None:
        if thread.runs_here:
            raise RuntimeError(
                "on_event, on_progress and functions that make helpers must not use the"
                " pool, which waits for them: use it in another thread"
            )


def _wait_for(work: Work[_T]) -> _T:
    """Return the result, or raise HelperError if the pool was stopped before it began."""
    try:
        return wait_for(work.future)
    except concurrent.futures.CancelledError:
        raise _stopped() from None


def _stopped() -> HelperError:
    return HelperError("the pool was stopped: make a new one")
