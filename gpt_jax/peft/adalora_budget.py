"""How many singular values AdaLoRA leaves, step by step, arXiv:2303.10512, eq. 12.

  b(t) = b_T + (b_0 - b_T) (1 - (t - t_i) / (T - t_i - t_f))^3,    t_i < t <= T - t_f

b_0 before that and b_T after, rounded down; t counts updates, the present one included.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from gpt_jax.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The budget of a run, over all matrices, and the steps that enforce it."""

  first: int  # b_0
  last: int  # b_T
  total_steps: int
  warmup_steps: int  # t_i
  final_steps: int  # t_f
  interval: int  # of the steps that mask; in the last t_f all of them do

  @property
  def fixed_from(self):
    """The step after which scores and budget stay as they are."""
    return self.total_steps - self.final_steps

  def budgets(self):
    """Returns b(t) for t of 0 to total_steps, int64 [total_steps + 1]."""
    steps = np.arange(self.total_steps + 1)
    share = (steps - self.warmup_steps) / (self.fixed_from - self.warmup_steps)
    left = 1 - np.clip(share, 0, 1)
    return (self.last + (self.first - self.last) * left**3).astype(np.int64)

  def budget_at(self, step):
    """Returns b(t) of a traced int32 `step`, int32."""
    # The steps at which it changes: float32 would round some budgets the other way.
    budgets = self.budgets()
    starts = np.flatnonzero(np.diff(budgets, prepend=-1)).astype(np.int32)
    i = jnp.searchsorted(jnp.asarray(starts), step, side='right') - 1
    return jnp.asarray(budgets[starts].astype(np.int32))[i]

  def masks_at(self, step):
    """Returns whether a traced `step` sets what is over budget to zero, bool."""
    is_due = (step > self.warmup_steps) & (step % self.interval == 0)
    return is_due | (step > self.fixed_from)


def make_schedule(options, num_matrices, total_steps):
  """Returns the Schedule of AdaLoraOptions; ConfigError where its parts are too long.

  Without numbers of their own, warm-up and end take the shares of a run that the
  authors' example gives them: 500 and 1,500 of 3,000 steps.
  """
  warmup, final = options.warmup_steps, options.final_steps
  warmup = total_steps // 6 if warmup is None else warmup
  final = total_steps // 2 if final is None else final
  if warmup + final >= total_steps:
    raise ConfigError(
      f'peft.options.warmup_steps={warmup}, peft.options.final_steps={final}: leave'
      f' none of the {total_steps} steps to lower the rank in; make them shorter, or'
      ' None for a sixth and a half of the run.'
    )
  return Schedule(
    first=options.initial_rank * num_matrices,
    last=options.target_rank * num_matrices,
    total_steps=total_steps,
    warmup_steps=warmup,
    final_steps=final,
    interval=options.interval,
  )
