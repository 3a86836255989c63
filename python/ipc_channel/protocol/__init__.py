"""The protocol without any I/O: frames, rendezvous strings, the states of a session.

It depends on neither asyncio nor sockets, so that every transport can use it.
"""
