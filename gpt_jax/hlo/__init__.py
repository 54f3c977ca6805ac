"""XLA's compiled programs, read as text: pure Python, no jax and no device.

`parser.py` (to read first) makes instructions of `compiled.as_text()`, `layout.py` the
bytes of their types. `costs.measure` sums FLOPs, cycles and collectives over all loops;
`liveness.analyze` finds which arrays are live at the peak of memory.
"""
