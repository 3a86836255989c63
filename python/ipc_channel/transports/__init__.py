"""How bytes get to the peer: one module or a few for each transport."""
