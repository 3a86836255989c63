"""The guard ends the helpers of a service that was killed, on POSIX.

No code of the service runs after SIGKILL. So the first helper that a service starts brings
a second process along: a shell that reads what the service writes to a socket, and keeps a
list of the helpers that live. When the service dies, the kernel closes the socket, and the
shell does what ``Helper.stop`` would have done. It is no child of the service, so a service
that waits for all of its children does not meet it; and it ends as soon as the service has
ended and no helper on its list lives.

PR_SET_PDEATHSIG of Linux would not do: the kernel sends that signal when the *thread* that
started the helper ends, sends it to one process and not to the group, and drops it when a
program changes its user.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import functools
import logging
import math
import os
import socket
import sys
from typing import Any

from ipc_channel import fork
from ipc_channel.helper.spawn import closing_inherited
from ipc_channel.log import safely

_logger = logging.getLogger("ipc_channel")

# Each line that the shell reads is "+ TARGET:START:TICKS", or the same with a minus. TARGET
# is what kill takes: a process, or a group with a minus before it. START is when the kernel
# of Linux started the process: if the number has another one by then, the helper was reaped
# without our knowledge, and the number is another process's. TICKS is the grace in tenths
# of a second. Either line may come twice. In the list, an entry that has got SIGTERM ends
# in the tick at which SIGKILL is due. A shell that fails, for want of a process for sleep
# for instance, kills what is left in its trap. The first shell ends once the second one
# runs, which makes the second one a child of init.
_SCRIPT = """\
trap '' HUP INT QUIT ALRM TERM USR1 USR2 PIPE TSTP TTIN TTOU XCPU
cd /
each=' '
forget() {
  case $each in *" $1 "*) each=${each%%" $1 "*}' '${each#*" $1 "} ;; esac
}
parse() {
  target=${1%%:*} due=${1##*:}
  start=${1#*:} start=${start%%:*}
}
is_another() {
  [ "$start" ] || return 1
  stat=
  while read -r line; do stat=$line; done < "/proc/${target#-}/stat"
  [ "$stat" ] || return 1
  set -- ${stat##*) }
  [ "${20}" != "$start" ]
}
end() {
  if ! kill -0 "$target" || is_another; then :
  elif [ "$now" -lt "$due" ]; then left="$left$helper "
  elif [ "$helper" = "$target:$start:$due" ]; then
    kill -TERM "$target"
    left="$left$helper:$((now + due)) "
  else kill -KILL "$target"
  fi
}
{
  while read -r sign helper; do
    forget "$helper"
    if [ "$sign" = + ]; then each="$each$helper "; fi
  done
  trap 'for helper in $each; do
      parse "$helper"
      is_another || kill -KILL "$target"
    done' EXIT
  now=0
  while [ "$each" != ' ' ]; do
    left=' '
    for helper in $each; do
      parse "$helper"
      end
    done
    each=$left
    [ "$each" = ' ' ] && break
    sleep 0.1 || { sleep 1; now=$((now + 9)); }
    now=$((now + 1))
  done
} <&3 3<&- &
"""
_TICK = 0.1  # seconds
_MOST = 10**8  # ticks, of which some shells can count no more than 2**31
_INPUT = 3  # its descriptor in the first shell
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_SO_NOSIGPIPE = 0x1022  # of macOS, which has no MSG_NOSIGNAL
_SHELL = "/bin/sh"
_NULL = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
_PATH = "/usr/bin:/bin"  # where sleep is
_FOR_WANT = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS)


def entry(pid: int, grace: float, *, own_group: bool) -> str:
    """Return how a child is listed; ``grace`` is in seconds."""
    ticks = min(math.ceil(grace / _TICK), _MOST)
    return f"{'-' if own_group else ''}{pid}:{_start_of(pid)}:{ticks}"


def _start_of(pid: int) -> str:
    """Return when a process was started; "0" if it is not there, "" if that is unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:
            return stat.read().rpartition(b")")[2].split()[19].decode()
    except (FileNotFoundError, ProcessLookupError):  # it was reaped, or this is not Linux
        return "0"
    except OSError:
        return ""


def prepare() -> None:
    """Start the guard of this process unless it runs; raise OSError if it cannot start.

    Without a shell, as in some containers, it logs a warning instead, once.
    """
    _guard_of_this_process().prepare()


def add(helper: str) -> None:
    """List a helper that was started; raise OSError as :func:`prepare` does."""
    _guard_of_this_process().add(helper)


def remove(helper: str) -> None:
    """Take a helper off the list: before it is reaped, as its number is free afterwards."""
    _guard_of_this_process().remove(helper)


def descriptor() -> int | None:
    """Return the number of the socket to the guard of this process, if there is one."""
    return _guard_of_this_process().descriptor()


class _Guard:
    """Our end of the socket, and what the shell at the other end knows.

    Every step may be done twice, as a signal handler may raise in between.
    """

    def __init__(self) -> None:
        self.maker = fork.this_process()
        self._socket: socket.socket | None = None
        self._listed: set[str] = set()
        self._told: set[str] = set()  # what is on the list of the shell
        self._shells: list[int] = []  # those that start a guard, and are not reaped yet
        self._impossible = False

    def descriptor(self) -> int | None:
        return None if self._socket is None else self._socket.fileno()

    def close(self) -> None:
        """Close the socket, as the end of this process does too; but not with a warning."""
        with fork.lock:
            if self._socket is not None:
                fork.close(self._socket)
                self._socket = None

    def prepare(self) -> None:
        with fork.lock:  # threads may start helpers at the same time
            if self._socket is not None or self._impossible:
                return
            try:
                self._start()
            except OSError as error:
                if error.errno in _FOR_WANT:
                    raise
                self._impossible = True
                safely(
                    _logger.warning,
                    "helpers will outlive this process if it is killed, because the shell"
                    " that is to end them cannot be started: %s",
                    error,
                )

    def add(self, helper: str) -> None:
        with fork.lock:
            self._listed.add(helper)
            self._tell()
            if self._socket is None:  # it was killed
                self.prepare()
                self._tell()

    def remove(self, helper: str) -> None:
        with fork.lock:
            self._listed.discard(helper)
            self._tell()

    def _start(self) -> None:
        ours, theirs = fork.hold_pair()
        try:
            theirs.setblocking(True)  # a shell takes a read that would block for an end
            if sys.platform == "darwin":
                ours.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
            _spawn(theirs, self._shells)
            if not self._reap_shells():
                raise OSError(errno.EAGAIN, "a shell could not start the guard of helpers")
            self._told.clear()
            self._socket = ours
        finally:
            fork.close(theirs)
            if self._socket is not ours:
                fork.close(ours)

    def _reap_shells(self) -> bool:
        """Wait some milliseconds for the first shells; return whether all did their work."""
        done = True
        for pid in tuple(self._shells):
            with contextlib.suppress(ChildProcessError):  # other code has reaped it
                done = os.waitpid(pid, 0)[1] == 0 and done
            self._shells.remove(pid)
        return done

    def _tell(self) -> None:
        """Tell the shell what has changed since it was told last."""
        self._reap_shells()  # left by a signal handler that raised
        for helper in self._told - self._listed:
            if self._send(f"- {helper}\n"):
                self._told.discard(helper)
        for helper in self._listed - self._told:
            if self._send(f"+ {helper}\n"):
                self._told.add(helper)

    def _send(self, line: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.send(line.encode(), _NO_SIGNAL)
        except BlockingIOError:  # it was stopped; it is told with the next change
            return False
        except OSError:  # it was killed
            self.close()
            return False
        return True


def _spawn(theirs: socket.socket, shells: list[int]) -> None:
    """Start the shell that starts the guard, with nothing open but ``theirs``."""
    script = f": ends the helpers of process {os.getpid()}, should it be killed\n{_SCRIPT}"
    number = theirs.fileno()
    # Another number in between, which the child does not use, as it may be _INPUT already.
    other = _INPUT + 1 if number != _INPUT + 1 else _INPUT + 2
    moved = [
        (os.POSIX_SPAWN_DUP2, number, other),
        (os.POSIX_SPAWN_DUP2, other, _INPUT),
        (os.POSIX_SPAWN_CLOSE, other),
    ]
    with closing_inherited() as closed:
        start = functools.partial(
            os.posix_spawn,
            file_actions=[*closed, *moved, *_NULL],
            setsigmask=(),
            **_own_session(),
        )
        # A single call, as in spawn.py.
        path = {"PATH": f"{_PATH}:{os.environ.get('PATH', '')}"}
        shells.extend(map(start, [_SHELL], [[_SHELL, "-c", script]], [path]))


@functools.cache
def _own_session() -> dict[str, Any]:
    """Return what keeps signals to the session, or at least to the group, from the guard."""
    try:
        os.posix_spawn("", ["-"], {}, setsid=True)
    except NotImplementedError:  # this C library has no such option
        return {"setpgroup": 0}
    except OSError:
        return {"setsid": True}
    raise AssertionError("there is a program without a name")


_guard: _Guard | None = None


@atexit.register
def _close_at_exit() -> None:
    if _guard is not None and _guard.maker.runs:
        _guard.close()


def _guard_of_this_process() -> _Guard:
    global _guard  # noqa: PLW0603  # one process, one guard
    with fork.lock:
        if _guard is None or not _guard.maker.runs:
            _guard = _Guard()
        return _guard
