"""The protocol without any I/O: frames, rendezvous strings, the states of a session.

It knows neither asyncio nor sockets, so that every shell and transport can use it.
"""
