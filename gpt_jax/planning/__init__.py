"""A run before it is launched: does it fit, how fast can it be, what would be better?

`make_plan` compiles the training step that `train` would run, for devices that need not
exist, and reads memory, FLOPs, cycles and collectives from the result. Nothing is
allocated and no data is read.
"""

from gpt_jax.planning.plan import Plan, make_plan

__all__ = ['Plan', 'make_plan']
