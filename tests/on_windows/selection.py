"""What applies to Windows: tests, and files that are type-checked for it."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from named_tests import files_of

OWN_TESTS = files_of(
    *("windows/", "helper/windows", "transports/owner_windows", "protocol/"),
    *("aio/clock", "aio/inbox", "aio/waiter", "sync/slices"),
)
"""Tests of what is Windows' own, and fast ones."""

LOAD_TESTS = files_of("windows/load")
"""Those of them with many messages and processes: half of the time under Wine."""

SESSION_TESTS = files_of(
    *("aio/close", "aio/endpoint", "aio/receiver", "aio/selector_thread", "aio/sender"),
    *("aio/stream", "transports/streams", "transports/tcp_socket"),
)
"""Tests of sessions, on both of Windows' loops."""

HELPER_TESTS = files_of("helper/output", "helper/result", "helper/sinks")
"""Tests of what a helper writes, and of what came of it."""

WINDOWS_TESTS = [*OWN_TESTS, *SESSION_TESTS, *HELPER_TESTS]

_LINUX_ONLY = "only Linux tells what the peer's kernel has taken, so close waits longer"
_NO_NEWS = "only Linux tells of an end that lies behind data that is not read"
_NO_FILES = "Windows has neither named pipes of this kind nor Unix sockets"
_NO_RESET = "NOT TESTED under Wine, where a reset looks like an end"
_NO_SIGNALS = "Windows has no signals that end a process"
_NO_ROOM = "Windows cannot say whether a file has room, so the thread that reads waits"
_ON_WINDOWS = {
    "*::test_a_place_without_room_*": _NO_ROOM,
    "*::test_death_by_a_signal*": _NO_SIGNALS,
    "*::test_the_last_lines_of_one_that_did_not_connect[[]*SIGKILL*": _NO_SIGNALS,
    "*::test_words_for_a_result*": _NO_SIGNALS,
    "*::test_a_helper_that_has_to_be_killed_is_logged*": _NO_SIGNALS,
    "*::test_close_does_not_wait_for_a_peer_that_has_read_all*": _LINUX_ONLY,
    "*::test_close_waits_until_the_peer_has_it*": _LINUX_ONLY,
    "*::test_close_waits_until_the_peer_is_quiet*": _LINUX_ONLY,
    "*::test_the_linger_counts_what_the_peer_takes*": _LINUX_ONLY,
    "*::test_a_peer_that_left_much_unread_is_no_peer_any_more*": _NO_NEWS,
    "*::test_a_forked_child_*": "Windows has no fork",
    "*::test_a_loop_that_watches_itself_is_asked_itself*": "has loops of its own",
    "*[[]*named_pipe*": _NO_FILES,
    "*::test_a_channel_that_cannot_write_is_not_connected*": _NO_FILES,
    "*::test_*_unix_socket*": _NO_FILES,
}
_UNDER_WINE = {
    "*::test_ends[[]*reset*": _NO_RESET,
    "*::test_a_reset_*": _NO_RESET,
    "*::test_streams_that_are_reset_*": _NO_RESET,
    "*::test_pending_writes_end_with_a_reset*": _NO_RESET,
    "*_reset.py::*": _NO_RESET,
}


def reasons_to_skip(name: str, *, wine: bool) -> Iterator[str]:
    """Yield why a test cannot run on Windows, if it cannot."""
    rules = {**_ON_WINDOWS, **(_UNDER_WINE if wine else {})}
    yield from (reason for pattern, reason in rules.items() if fnmatchcase(name, pattern))


TYPED = (
    "python/ipc_channel/windows",
    "python/ipc_channel/sync",
    *(
        f"python/ipc_channel/{name}.py"
        for name in (
            *("users", "options", "fork", "helper_main", "helper_side"),
            *("helper/command", "helper/helper_process", "helper/windows_process"),
            *("helper/output", "helper/output_thread", "helper/windows_output"),
            *("transports/owner_windows", "transports/tcp_listener"),
            "conformance/python_testee",
        )
    ),
    "tests/windows",
    "tests/transports/test_owner_windows_asked.py",
    *(
        f"tests/helper/test_windows_{name}.py"
        for name in ("process", "group", "output", "start", "supervisor")
    ),
)
"""What has code of its own for Windows, and the tests of that."""
