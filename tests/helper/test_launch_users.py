"""Helpers that become another user, or may not."""

from __future__ import annotations

import grp
import os
import pwd
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guards import WAIT, service, until_gone
from ipc_channel import Helper, HelperError, make_ipc_channel, sync
from other_users import STRANGER, needs_root

pytestmark = pytest.mark.usefixtures("place")

NOBODY = pwd.getpwnam("nobody")
# A Python that other users can start; the tests' own may be in a directory of root.
PYTHON = "/usr/bin/python3"
CONNECT = """
import os, socket, time
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["IPC_CHANNEL_IN"][5:])
"""
SHOW = f"""{CONNECT}
shown = repr((os.getresuid(), os.getresgid(), os.getgroups())).encode()
s.send(len(shown).to_bytes(4, "big") + shown)
s.recv(1)
"""
STAYS = f"{CONNECT}while True: time.sleep(1000)"

needs_python = pytest.mark.skipif(
    not Path(PYTHON).exists(), reason=f"NOT TESTED: there is no {PYTHON}"
)


async def shown(**options: Any) -> Any:
    """Return the users, groups and supplementary groups of a helper."""
    async with Helper([PYTHON, "-I", "-S", "-c", SHOW], **options) as channel:
        return eval(await channel.read() or b"")


@needs_root
@needs_python
@pytest.mark.parametrize("user", ["nobody", NOBODY.pw_uid])
async def test_a_helper_becomes_another_user(user: str | int) -> None:
    """The channel that is made for it lets it in, and it keeps no group of root."""
    users, groups, others = await shown(user=user)
    assert users == (NOBODY.pw_uid,) * 3
    assert groups == (NOBODY.pw_gid,) * 3
    assert sorted(others) == sorted(os.getgrouplist("nobody", NOBODY.pw_gid))


@needs_root
@needs_python
async def test_a_channel_of_the_caller_has_to_let_the_user_in() -> None:
    channel = make_ipc_channel(transport="unix", allowed_users=["nobody"])
    users, _, _ = await shown(channel=channel, user="nobody")
    assert users == (NOBODY.pw_uid,) * 3


@needs_root
@needs_python
async def test_a_group() -> None:
    name = grp.getgrgid(1).gr_name
    _, groups, others = await shown(user="nobody", group=name)
    assert groups == (1,) * 3
    assert sorted(others) == sorted(os.getgrouplist("nobody", 1))
    users, groups, others = await shown(group=1)
    assert users == (0,) * 3
    assert groups == (1,) * 3
    assert sorted(others) == sorted(os.getgroups())


@needs_root
@needs_python
async def test_a_user_without_an_entry_needs_a_group() -> None:
    with pytest.raises(ValueError, match=f"user {STRANGER} has no entry .*: give group"):
        Helper(["/bin/true"], user=STRANGER)
    users, groups, others = await shown(user=STRANGER, group=STRANGER)
    assert users == groups == (STRANGER,) * 3
    assert others == [STRANGER]


@needs_root
@needs_python
async def test_our_own_user_is_no_change_of_channel() -> None:
    users, _, _ = await shown(user=os.geteuid())
    assert users == (os.geteuid(),) * 3


@needs_root
@needs_python
def test_a_helper_of_another_user_ends_with_its_service() -> None:
    command = [PYTHON, "-I", "-S", "-c", STAYS]
    body = f"tell(start({command!r}, user='nobody', grace=0.1).process.pid)"
    # Where every user can enter the directory of the channel.
    with service(body + WAIT, env=os.environ | {"TMPDIR": "/tmp"}) as one:
        (pid,) = one.told()
        guard = one.guard()
        one.kill()
        until_gone(pid, guard)


@needs_root
@needs_python
def test_a_helper_of_another_user_is_stopped() -> None:
    command = [PYTHON, "-I", "-S", "-c", STAYS]
    helper = sync.Helper(command, user="nobody", grace=0.1)
    helper.start()
    assert helper.stop() == -signal.SIGTERM


# Imported before the user changes, as it may not be able to read the package.
UNPRIVILEGED = """
import os, sys
from ipc_channel import Helper
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    options = eval(sys.argv[1])
    Helper(["/bin/true"], **options)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("{'user': 0}", "PermissionError only root may start a helper as another user"),
        ("{'group': 0}", "PermissionError only root may start .* .user=None, group=0."),
        ("{'user': os.geteuid(), 'group': 0}", "PermissionError only root"),
        ("{'nice': -1}", "PermissionError nice is -1, and only root may lower"),
        (
            "{'limits': {'NOFILE': 2**30}}",
            "PermissionError .*'NOFILE'.*: 1073741824 exceeds the hard limit of this",
        ),
        ("{'user': os.geteuid(), 'group': os.getegid()}", ""),
        ("{'user': os.geteuid()}", ""),
    ],
)
def test_what_only_root_may_do_is_refused(options: str, text: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", UNPRIVILEGED, options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    if text:
        assert re.match(text, done.stdout)
    else:
        assert done.stdout == ""


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"user": "no-such-user"}, ValueError, "'no-such-user', which is no user of this"),
        ({"group": "no-such-group"}, ValueError, "'no-such-group', which is no group of"),
        ({"user": 1.5}, TypeError, "user is the name or the number of a user, an int, not"),
        (
            {"group": True},
            TypeError,
            "group is the name or the number of a group.*not bool",
        ),
        ({"user": -1}, ValueError, "user is -1, not within 0 and 4294967294"),
        ({"group": 2**32 - 1}, ValueError, "group is 4294967295, not within 0"),
    ],
)
def test_impossible_users_are_refused(
    options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        Helper(["/bin/true"], **options)


@needs_root
@needs_python
async def test_a_channel_that_was_not_told_refuses_the_user() -> None:
    channel = make_ipc_channel(transport="unix")
    command = [PYTHON, "-I", "-S", "-c", SHOW]
    with pytest.raises(HelperError, match="ended with status 1"):
        await Helper(command, channel, user="nobody").start()
    await channel.close()
