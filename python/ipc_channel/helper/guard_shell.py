"""The shell that is the guard of a service's helpers: its script, and how it is started."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
from typing import Any

from ipc_channel.helper.spawn import closing_inherited

BEGIN = b"begin\n"
"""Makes the first shell start the guard, and end."""

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
read -r sign <&3
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
_INPUT = 3  # its descriptor in the first shell
_SHELL = "/bin/sh"
_NULL = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
_PATH = "/usr/bin:/bin"  # where sleep is


def start_shell(theirs: socket.socket, shells: list[int]) -> None:
    """Start the shell that starts the guard, with nothing open but ``theirs``.

    Appends its number to ``shells``. It waits for :data:`BEGIN`.
    """
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
    _calm(shells[-1])


def _calm(pid: int) -> None:
    """Keep a process from interrupting others as it wakes: the guard is in no hurry.

    Otherwise, where more processes run than there are cores, each line to the guard would
    cost us a turn.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # it has ended, or the service may not do that
            os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))


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
