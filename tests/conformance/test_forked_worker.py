"""A helper ends with its service, though a worker that the service has forked lives on."""

from __future__ import annotations

import os

import pytest

from forks import ends, forking_service, has_ended


@pytest.mark.parametrize("way", ["os", "multiprocessing"])
def test_the_service_is_killed(transport: str, way: str, command: list[str]) -> None:
    with forking_service(transport, "asyncio", way, tuple(command)) as service:
        worker, helper = map(os.pidfd_open, service.told())
        service.kill()
        assert ends(helper)
        assert not has_ended(worker, 0)
        os.close(helper)
    assert ends(worker)
    os.close(worker)
