"""A Python service whose helpers are killed at work, and come back.

Each helper computes digests, is killed in the middle, and is started again by its
supervisor. The service sends the message that has got no answer to the next helper::

    python killed_helper.py --helper Go=./digest --helper "Node=node digest.js"
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import shlex
import sys

from ipc_channel import Helper, PeerError, Supervisor, SupervisorEvent

MESSAGES = [b"message %d" % number for number in range(1000)]
KILL_AT = 500  # messages that are answered before the helper is killed


def is_digest(answer: bytes, message: bytes) -> bool:
    return answer == hashlib.sha256(message).hexdigest().encode()


async def compute(command: list[str], events: list[SupervisorEvent]) -> int:
    """Have a helper answer all messages, and kill it once; return how many it answered."""
    helper, answered = Helper(command), 0
    async with Supervisor(helper, on_event=events.append) as supervisor:
        async for channel in supervisor:
            try:
                while answered < len(MESSAGES):
                    await channel.write(MESSAGES[answered])
                    if answered == KILL_AT and events[-1].attempt == 1:
                        helper.process.kill()
                        await helper.process.wait()
                    answer = await channel.read()
                    if answer is None or not is_digest(answer, MESSAGES[answered]):
                        break
                    answered += 1
                else:
                    break  # out of the loop over the helper's lives: the work is done
            except PeerError as error:
                print(f"  {type(error).__name__}: {error}")
    return answered


async def main() -> int:
    parser = argparse.ArgumentParser(description="Kill helpers that compute digests.")
    parser.add_argument("--helper", action="append", required=True, metavar="NAME=COMMAND")
    good = True
    for name, _, command in (text.partition("=") for text in parser.parse_args().helper):
        events: list[SupervisorEvent] = []
        print(f"{name}: {len(MESSAGES):,} messages, killed after {KILL_AT:,}")
        answered = await compute(shlex.split(command), events)
        for event in events:
            print(f"  {event.kind:10} {event}")
        losses = [event for event in events if event.kind == "lost"]
        print(f"  {answered:,} digests are right, {len(losses)} helper was lost")
        good = good and answered == len(MESSAGES) and len(losses) == 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
