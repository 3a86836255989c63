"""The conformance suite: any client, driven by JSON lines (spec/conformance.md).

``ipc-channel conformance -- COMMAND`` runs it. A *case* is a coroutine that
plays the server and tells the testee what to do; the runner gives each a
testee of its own, and reports say what became of them.
"""
