"""Requests over a channel of asyncio, against the vectors (spec/requests.md)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ipc_channel import RequestChannel
from ipc_channel.conformance.request_handler import handle
from raw import connected
from request_steps import CASES, check_result, options_of, play_peer


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
async def test_each_step(case: dict[str, Any], tmp_path: Path) -> None:
    """Over one transport: the layer knows messages only."""
    loop = asyncio.get_running_loop()
    calls: dict[str, asyncio.Task[bytes]] = {}
    async with connected("unix", "client", tmp_path, **options_of(case)) as (ours, raw):
        requests = RequestChannel(ours)
        serving = None
        if "serve" in case:
            serving = loop.create_task(
                requests.serve(
                    lambda payload: handle(payload, requests.call),
                    concurrency=case["serve"],
                )
            )
        for step in case["steps"]:
            if "call" in step:
                payload = bytes.fromhex(step["payload"])
                calls[step["call"]] = loop.create_task(requests.call(payload))
                await asyncio.sleep(0)  # so that it begins
            elif "cancel" in step:
                calls[step["cancel"]].cancel()
                await asyncio.wait({calls[step["cancel"]]})
            elif "close" in step:
                await ours.close()
            elif "answer" in step or "error" in step:
                call = calls[step.get("answer", step.get("error"))]
                (result,) = await asyncio.gather(call, return_exceptions=True)
                check_result(step, result)
            elif "closes" in step:
                if serving is not None:
                    await asyncio.wait({serving})
                    await ours.close()
                assert await asyncio.to_thread(raw.recv_all) == []
            else:
                await asyncio.to_thread(play_peer, step, raw)
        tasks = [*calls.values(), *([] if serving is None else [serving])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
