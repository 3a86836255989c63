"""The channel for asyncio: reads, writes, connects and closes in an event loop."""
