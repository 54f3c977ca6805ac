"""LoRA: a trained update of low rank beside each frozen matrix, arXiv:2106.09685.

  y = x W + s (x A) B,   s = alpha / r        A [.., r] random, B [r, ..] = 0 at first

`dora.py`, `pissa.py` and `eva.py` have what options change.
"""

import re

import jax
import jax.numpy as jnp

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import above, at_least, one_of, rate, section
from gpt_jax.peft import dora, eva, linears, pissa
from gpt_jax.peft.adapter import Adapter, Leaf, Merge, dropped_out
from gpt_jax.peft.low_rank import LORA_A, LORA_B, low_rank, update_of


@section
class LoraOptions:
  rank: int = at_least(1, default=8)
  alpha: float = above(0.0, default=16.0)
  # Regular expression, searched in the paths of linear maps: 'query|value' is the
  # paper's choice (section 4.2), '' is all of them (QLoRA, arXiv:2305.14314).
  targets: str = 'query|value'
  rank_pattern: dict[str, int] | None = None  # regular expression -> rank of some
  rank_stabilized: bool = False  # s = alpha / sqrt(r), arXiv:2312.03732
  dropout: float = rate(default=0.0)  # of what A reads
  dora: bool = False  # magnitudes apart, arXiv:2402.09353
  # Of A: pissa is arXiv:2404.02948, eva arXiv:2410.07170.
  init: str = one_of('random', 'pissa', 'eva', default='random')
  # Of train.batch_size / train.grad_accum rows, which eva reads.
  init_batches: int = at_least(1, default=8)
  biases: str = one_of('none', 'targets', 'all', default='none')  # those that train


@entry(options=LoraOptions)
def make(config):
  """Returns the Adapter of a Config."""
  options = config.peft.options
  field = 'peft.options'
  targets = linears.choose(config.model, options.targets, f'{field}.targets')
  ranks = ranks_of(targets, options)
  scales = {
    linear.path: scale_of(ranks[linear.path], options.alpha, options.rank_stabilized)
    for linear in targets
  }
  added = {}
  for linear in targets:
    added |= leaves_of(linear, ranks[linear.path])
    if options.init == 'pissa':
      added |= pissa.leaves_of(linear, ranks[linear.path])
    if options.dora:
      added |= dora.leaves_of(linear)
  return Adapter(
    name='lora',
    added=added,
    trains=_biases(options.biases, targets),
    intercept=_intercept(targets, scales, options.dropout),
    merged={
      linear.kernel: _merge(linear, scales[linear.path], options) for linear in targets
    },
    begin=_begin(targets, ranks, scales, options),
    factors=_factors(targets, scales, options),
  )


def _begin(targets, ranks, scales, options):
  """Returns the function of `Adapter.begin`, None where A is random and alone."""
  of_init = {
    'pissa': lambda: pissa.begin(targets, ranks, scales),
    'eva': lambda: eva.begin(targets, ranks, options.init_batches),
  }
  begins = [of_init[options.init]()] if options.init in of_init else []
  begins += [dora.begin(targets)] if options.dora else []

  def begin(leaves, observe=None, ids=None):
    del ids
    made = (each(leaves, observe) for each in begins)
    return {name: leaf for each in made for name, leaf in each.items()}

  return begin if begins else None


def ranks_of(targets, options):
  """Returns {path: rank}; ConfigError for one above that of its matrix."""
  ranks = {linear.path: options.rank for linear in targets}
  for pattern, rank in (options.rank_pattern or {}).items():
    field = f'peft.options.rank_pattern[{pattern!r}]'
    found = [linear.path for linear in targets if re.search(pattern, linear.path)]
    if not found:
      paths = ', '.join(linear.path for linear in targets)
      raise ConfigError(f'{field}: matches none of the targets, {paths}.')
    if rank < 1:
      raise ConfigError(f'{field}={rank}: expected at least 1.')
    ranks |= dict.fromkeys(found, rank)
  for linear in targets:
    most = min(linear.fan_in, linear.fan_out)
    if ranks[linear.path] > most:
      raise ConfigError(
        f'peft.options.rank={ranks[linear.path]}: more than {linear.path} of'
        f' {linear.fan_in} x {linear.fan_out} can have; expected at most {most}, or'
        f' less for it alone: peft.options.rank_pattern={{"{linear.path}": {most}}}.'
      )
  return ranks


def scale_of(rank, alpha, is_stabilized):
  return alpha / rank**0.5 if is_stabilized else alpha / rank


def leaves_of(linear, rank):
  """Returns {name: Leaf} of A, uniform as torch's linear layers start, and B, zero."""
  bound = linear.fan_in**-0.5

  def uniform(key, shape, dtype):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  reads, writes = linear.contracted, linear.kept
  stack, axes = linear.stack, linear.stack_axes
  return {
    f'{linear.path}/{LORA_A}': Leaf(
      (*stack, *linear.sizes(reads), rank), (*axes, *linear.axes_of(reads), None),
      uniform,
    ),
    f'{linear.path}/{LORA_B}': Leaf(
      (*stack, rank, *linear.sizes(writes)), (*axes, None, *linear.axes_of(writes)),
      jax.nn.initializers.zeros,
    ),
  }  # fmt: skip


def _intercept(targets, scales, dropout):
  def change(module, linear, x, y):
    def parameter(name):
      return module.get_variable('params', name)

    letters, scale = linear.letters, scales[linear.path]
    seen = dropped_out(module, x, dropout)
    update = low_rank(letters, seen, parameter(LORA_A), parameter(LORA_B))
    if module.has_variable('params', pissa.START_A):
      start = parameter(pissa.START_A), parameter(pissa.START_B)
      update -= low_rank(letters, seen, *start)
    y += scale * update
    if module.has_variable('params', dora.MAGNITUDE):
      y = dora.rescale(module, linear, scale, y)
    return y

  return linears.intercept_outputs(targets, change)


def _merge(linear, scale, options):
  parts = [linear.kernel, f'{linear.path}/{LORA_A}', f'{linear.path}/{LORA_B}']
  if options.init == 'pissa':
    parts += [f'{linear.path}/{name}' for name in (pissa.START_A, pissa.START_B)]
  if options.dora:
    parts.append(f'{linear.path}/{dora.MAGNITUDE}')

  def make(kernel, a, b, *rest):
    merged = kernel.astype(jnp.float32) + scale * update_of(linear, a, b)
    if options.init == 'pissa':
      start_a, start_b, *rest = rest
      merged -= scale * update_of(linear, start_a, start_b)
    if options.dora:
      merged *= dora.ratio(linear, merged, rest[0])
    return merged.astype(kernel.dtype)

  return Merge(tuple(parts), make)


def _factors(targets, scales, options):
  """Returns the function of `Adapter.factors`, None where there is more to it."""
  if options.dora or options.biases != 'none':
    return None

  def factors(leaves):
    found = {}
    for linear in targets:
      path, scale = linear.path, scales[linear.path]
      a, b = leaves[f'{path}/{LORA_A}'], scale * leaves[f'{path}/{LORA_B}']
      if options.init == 'pissa':  # twice the rank: the start is subtracted
        start_a = leaves[f'{path}/{pissa.START_A}']
        start_b = -scale * leaves[f'{path}/{pissa.START_B}']
        a = jnp.concatenate([a, start_a], axis=-1)
        b = jnp.concatenate([b, start_b], axis=len(linear.stack))
      found[path] = a, b
    return found

  return factors


def _biases(which, targets):
  if which == 'all':
    return lambda name: name.rpartition('/')[2] == 'bias'
  names = {f'{linear.path}/bias' for linear in targets if linear.has_bias}
  return lambda name: which == 'targets' and name in names
