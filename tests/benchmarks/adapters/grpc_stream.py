"""gRPC with round trips over one bidirectional stream, instead of a call each."""

from __future__ import annotations

from benchmarks.adapters import grpc_aio
from benchmarks.adapters.grpc_aio import peer

__all__ = ["driver", "peer"]


async def driver(directory: str) -> None:
    await grpc_aio.driver(directory, grpc_aio.StreamWork)
