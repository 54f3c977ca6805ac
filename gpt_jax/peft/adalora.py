"""AdaLoRA: LoRA in the form of an SVD that gives each matrix its rank, 2303.10512.

  y = x W + s ((x P) E) Q,   s = alpha / initial rank       E [r] diagonal, 0 at first

Training lowers the number of singular values E from the initial rank to the target rank
times the number of matrices (`adalora_budget.py`), and keeps the most important ones of
all layers (`adalora_allocation.py`); P and Q are held near orthogonal by a penalty.
With optimizer.ema_decay, averages of masked values only come near zero.
"""

import functools

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import above, at_least, rate, section
from gpt_jax.peft import adalora_allocation as allocation
from gpt_jax.peft import adalora_budget, linears
from gpt_jax.peft.adalora_allocation import E, P, Q
from gpt_jax.peft.adapter import Adapter, Leaf, Merge, Training, dropped_out
from gpt_jax.peft.low_rank import low_rank, update_of


@section
class AdaLoraOptions:
  initial_rank: int = at_least(1, default=12)
  target_rank: int = at_least(1, default=8)  # at the end, the mean over all matrices
  alpha: float = above(0.0, default=16.0)
  # Regular expression, searched in the paths of linear maps; '': all (section 4).
  targets: str = ''
  dropout: float = rate(default=0.0)  # of what P reads
  warmup_steps: int | None = at_least(0, default=None)  # at full rank; None: a sixth
  final_steps: int | None = at_least(0, default=None)  # at the target; None: a half
  interval: int = at_least(1, default=10)  # steps between two maskings
  beta1: float = rate(default=0.85)  # of the average sensitivity
  beta2: float = rate(default=0.85)  # of its uncertainty
  orthogonality: float = at_least(0.0, default=0.1)  # weight of the penalty


@entry(options=AdaLoraOptions)
def make(config):
  """Returns the Adapter of a Config."""
  options = config.peft.options
  targets = linears.choose(config.model, options.targets, 'peft.options.targets')
  check_ranks(targets, options)
  scale = options.alpha / options.initial_rank
  added = {}
  for linear in targets:
    added |= leaves_of(linear, options.initial_rank)
  return Adapter(
    name='adalora',
    added=added,
    intercept=_intercept(targets, scale, options.dropout),
    merged={linear.kernel: _merge(linear, scale) for linear in targets},
    training=functools.partial(_training, targets, options),
    ranks=allocation.ranks_of,
  )


def check_ranks(targets, options):
  """Raises ConfigError for ranks that exclude each other or that no matrix has."""
  first, last = options.initial_rank, options.target_rank
  if last > first:
    raise ConfigError(
      f'peft.options.target_rank={last}: above peft.options.initial_rank={first}, and'
      ' ranks only fall; expected at most that.'
    )
  for linear in targets:
    most = min(linear.fan_in, linear.fan_out)
    if first > most:
      raise ConfigError(
        f'peft.options.initial_rank={first}: more than {linear.path} of'
        f' {linear.fan_in} x {linear.fan_out} can have; expected at most {most}, or'
        ' peft.options.targets without it.'
      )


def leaves_of(linear, rank):
  """Returns {name: Leaf} of P and Q, normal, and E, zero."""
  normal = jax.nn.initializers.normal(0.02)
  stack, axes = linear.stack, linear.stack_axes

  def leaf(before, after, init):
    shape = (*stack, *linear.sizes(before), rank, *linear.sizes(after))
    names = (*axes, *linear.axes_of(before), None, *linear.axes_of(after))
    return Leaf(shape, names, init)

  return {
    f'{linear.path}/{P}': leaf(linear.contracted, '', normal),
    f'{linear.path}/{E}': leaf('', '', jax.nn.initializers.zeros),
    f'{linear.path}/{Q}': leaf('', linear.kept, normal),
  }


def scaled(p, e):
  """Returns `P E`, with or without the axis of layers."""
  between = (1,) * (p.ndim - e.ndim)
  return p * e.reshape(*e.shape[:-1], *between, e.shape[-1])


def _intercept(targets, scale, dropout):
  def change(module, linear, x, y):
    p, e, q = (module.get_variable('params', name) for name in (P, E, Q))
    seen = dropped_out(module, x, dropout)
    return y + scale * low_rank(linear.letters, seen, scaled(p, e), q)

  return linears.intercept_outputs(targets, change)


def _merge(linear, scale):
  def make(kernel, p, e, q):
    update = scale * update_of(linear, scaled(p, e), q)
    return (kernel.astype(jnp.float32) + update).astype(kernel.dtype)

  return Merge((linear.kernel, *allocation.names_of(linear)), make)


def _training(targets, options, total_steps):
  """Returns the Training of a run of so many steps; ConfigError for one too short."""
  matrices = sum(linear.num_matrices for linear in targets)
  schedule = adalora_budget.make_schedule(options, matrices, total_steps)
  scores = allocation.Scores(options.beta1, options.beta2)

  def penalties(leaves):
    return options.orthogonality * allocation.orthogonality(targets, leaves)

  def metrics(leaves, step):
    return {
      'rank': allocation.rank(targets, leaves),
      'rank_budget': schedule.budget_at(step),
    }

  return Training(
    wrap_optimizer=functools.partial(
      allocation.wrap_optimizer, targets=targets, schedule=schedule, scores=scores
    ),
    penalties=lambda leaves: {'orthogonality': penalties(leaves)},
    metrics=metrics,
  )
