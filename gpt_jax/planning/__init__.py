"""A run before launch: does it fit, how fast can it be, what would be better?

`make_plan` (plan.py, to read first) compiles the training step that `train` would run,
for devices that need not exist (topologies.py), and reads memory (memory.py) and time
(step_time.py, with models of attention kernels and the network) from the program's
text. Nothing is allocated, no data is read. A new axis of `--search` is a function and
a line in `search.AXES`; a new chip a row of `parallel.chips.TPUS`.
"""

from gpt_jax.planning.plan import Plan, make_plan

__all__ = ['Plan', 'make_plan']
