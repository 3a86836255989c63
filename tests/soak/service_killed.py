"""Services are killed; a testee tells what its client has read, and how it ended."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipc_channel.conformance.payloads import write
from ipc_channel.conformance.testee import Testee
from soak.messages import messages
from soak.tally import WrongError
from soak.trial import Trial, kill, soon

_EARLY = 0.1  # of the services are killed while the client connects
_EARLY_TIMEOUT = 0.3  # seconds until that client gives up
_SERVICE = Path(__file__).with_name("service.py")


async def run(trial: Trial, name: str, testee: Testee, loop: str, temporary: str) -> None:
    """Have the testee connect to a service, and kill the service."""
    label = f"{trial.seed}/{trial.number}"
    directory = os.path.join(temporary, str(trial.number))
    os.mkdir(directory)
    told = [trial.transport, loop, label, str(trial.chance.choice((0, 2, 5)))]
    service = await asyncio.create_subprocess_exec(
        *(sys.executable, str(_SERVICE), *told),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"TMPDIR": directory, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        await _session(trial, testee, service, label)
        trial.count_kill(f"service of a {name} client")
    finally:
        if service.returncode is None:
            kill(service.pid)
        await service.wait()
        shutil.rmtree(directory)  # what a killed service leaves behind


async def _session(
    trial: Trial, testee: Testee, service: asyncio.subprocess.Process, label: str
) -> None:
    assert service.stdout is not None
    lines = [await soon("the service", service.stdout.readline()) for _ in range(2)]
    in_path, out_path = (line.decode().strip() for line in lines)
    early = trial.chance.random() < _EARLY
    told = {"in": in_path, "out": out_path, "timeout": _EARLY_TIMEOUT if early else 60}
    connecting = testee.begin("connect", **told)
    if early:
        await _kill_after(trial.delay() / 10, service.pid)
    reply = await soon("connecting", connecting.reply)
    if early and "error" in reply:
        trial.tally.ends[f"{trial.transport}: killed before it connected"] += 1
        return
    _check(reply)
    writing = testee.begin("write", **write(10, 100_000, 1, 300_000))
    killing = asyncio.create_task(_kill_after(trial.delay(), service.pid))
    try:
        got, end = await soon("reading", _read(trial, testee, label))
        trial.check_end(end, got)
    finally:
        await killing
    await soon("writing", writing.reply)
    _check(await soon("closing", testee.begin("close").reply))


async def _kill_after(delay: float, pid: int) -> None:
    await asyncio.sleep(delay)
    kill(pid)


async def _read(trial: Trial, testee: Testee, label: str) -> tuple[int, str | None]:
    """Compare what the testee reads; return how many messages, and the end."""
    for got, wanted in enumerate(messages(label)):
        reply = await testee.begin("read").reply
        if "message" not in reply:
            return got, reply.get("end")
        size, digest = len(wanted), hashlib.sha256(wanted).hexdigest()
        if reply["message"] != {"size": size, "sha256": digest}:
            raise WrongError(f"message {got} is {reply['message']}, not {size}, {digest}")
        trial.tally.read(size)
    raise AssertionError("unreachable: there is always another message")


def _check(reply: Mapping[str, Any]) -> None:
    if "error" in reply:
        raise WrongError(f"the testee says {dict(reply)}")
