"""The channel for asyncio: what reads, writes, connects and closes in an event loop."""
