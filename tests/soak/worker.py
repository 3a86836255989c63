"""One process of a run: trials, a few at a time, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import asdict, dataclass, field

from ipc_channel import IPCChannelError
from ipc_channel.conformance.case import CaseFailedError
from ipc_channel.conformance.testee import Testee, TesteeError
from ipc_channel.conformance.trace import Trace
from soak import helper_killed, service_killed
from soak.service import LOOPS
from soak.tally import Tally, WrongError
from soak.trial import Trial

_SERVICES = 0.2  # of the trials kill a service
_MOSTLY = 0.8  # of the trials take the favourite, if there is one
_FAILURES = 5  # after as many a worker gives up
_FOUND = (WrongError, IPCChannelError, CaseFailedError, TesteeError, OSError)


@dataclass
class Plan:
    """What a worker is told, as JSON in its only argument."""

    seed: int
    loop: str
    kills: int | None
    seconds: float
    at_a_time: int
    first: int
    step: int
    helpers: dict[str, list[str]]
    testees: dict[str, list[str]]
    mostly: str | None = None
    only: int | None = None
    deadline: float = field(default=0.0, init=False)

    def is_over(self, tally: Tally) -> bool:
        """Whether enough was done, or too much failed."""
        enough = self.kills is not None and tally.kills.total() >= self.kills
        late = time.monotonic() >= self.deadline
        return enough or late or len(tally.failures) >= _FAILURES


async def work(plan: Plan, tally: Tally) -> None:
    """Run trials one after the other, some at a time, until the plan is fulfilled."""
    plan.deadline = time.monotonic() + plan.seconds
    numbers: Iterator[int] = itertools.count(plan.first, plan.step)
    if plan.only is not None:
        numbers = itertools.repeat(plan.only)
    with tempfile.TemporaryDirectory(prefix="soak-") as temporary:
        lines = (_line(plan, tally, numbers, temporary) for _ in range(plan.at_a_time))
        await asyncio.gather(*lines)


async def _line(plan: Plan, tally: Tally, numbers: Iterator[int], temporary: str) -> None:
    """Run one trial after the other, with testees of its own."""
    async with contextlib.AsyncExitStack() as stack:
        testees: dict[str, Testee] = {}
        for name, command in plan.testees.items():
            testees[name] = await stack.enter_async_context(_started(command))
        while not plan.is_over(tally):
            trial = Trial(plan.seed, next(numbers), tally)
            try:
                await _run(plan, trial, testees, temporary)
            except _FOUND as error:
                text = f"--seed {trial.seed} --only {trial.number} ({plan.loop}): "
                tally.failures.append(f"{text}{type(error).__name__}: {error}")
                return  # its testees may be in any state


async def _run(
    plan: Plan, trial: Trial, testees: dict[str, Testee], temporary: str
) -> None:
    if testees and (not plan.helpers or trial.chance.random() < _SERVICES):
        name = _choose(plan, trial, testees)
        await service_killed.run(trial, name, testees[name], plan.loop, temporary)
    else:
        name = _choose(plan, trial, plan.helpers)
        await helper_killed.run(trial, name, plan.helpers[name])


def _choose(plan: Plan, trial: Trial, names: Collection[str]) -> str:
    favoured = trial.chance.random() < _MOSTLY
    if favoured and plan.mostly is not None and plan.mostly in names:
        return plan.mostly
    return trial.chance.choice(sorted(names))


@contextlib.asynccontextmanager
async def _started(command: list[str]) -> AsyncIterator[Testee]:
    testee = await Testee.start(command, {}, Trace())
    try:
        await testee.greeting()
        yield testee
        await testee.finish(10)
    finally:
        await testee.kill()


def main() -> None:
    """Do what the argument says, and print the tally."""
    plan = Plan(**json.loads(sys.argv[1]))
    tally = Tally()
    with asyncio.Runner(loop_factory=LOOPS[plan.loop]) as runner:
        runner.run(work(plan, tally))
    print(json.dumps(tally.as_json()))


def told(plan: Plan) -> str:
    """Return the argument for a plan."""
    values = asdict(plan)
    del values["deadline"]
    return json.dumps(values)


if __name__ == "__main__":
    main()
