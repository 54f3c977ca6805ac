"""Which weights of a matrix are zeroed: the lowest scores, by share or N of every M.

Matrices are [..., inputs, outputs], as a model stores them; scores are as large as what
they say would be lost.
"""

import re

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import between, one_of, rate, section

_PATTERN = re.compile(r'(\d+):(\d+)')


@section
class Sparsity:
  """Options of methods that zero single weights."""

  sparsity: float = rate(default=0.5)
  """Share of the weights that become zero."""
  pattern: str = ''
  """N:M, such as 2:4: of every M weights along the inputs N stay; '': any may go."""
  targets: str = ''
  """Regular expression searched in paths such as layers/block_0/mlp/up; '': all linear
  maps of the blocks."""


@section
class OfMatrices(Sparsity):
  """Options of magnitude."""

  compare: str = one_of('matrix', 'output', default='matrix')
  """Among which weights the smallest go: those of a matrix, or of one output of it."""


@section
class OfInputs(Sparsity):
  """Options of wanda."""

  batches: int = between(1, 10_000, default=16)
  """Microbatches of text to calibrate with."""


def check(method, options):
  """Returns (N, M) of a pattern, None without one; ConfigError for what is none."""
  field = f'--method={method}'
  if not options.pattern:
    if not options.sparsity:
      raise ConfigError(
        f'{field}:sparsity=0: zeroes nothing; expected more than 0 and less than 1,'
        ' such as 0.5.'
      )
    return None
  found = _PATTERN.fullmatch(options.pattern)
  kept, group = (int(found[1]), int(found[2])) if found else (0, 0)
  if not 0 < kept < group:
    raise ConfigError(
      f'{field}:pattern={options.pattern}: expected N:M, N less than M, such as 2:4: of'
      ' every M weights N stay.'
    )
  return kept, group


def check_sizes(method, pattern, linears):
  """Raises ConfigError for a map whose inputs a `pattern` (N, M) cannot divide."""
  _, group = pattern
  for linear in linears:
    if linear.fan_in % group:
      raise ConfigError(
        f'--method={method}:pattern={pattern[0]}:{group}: {linear.path} has'
        f' {linear.fan_in} inputs, which {group} does not divide; leave it out with'
        ' targets=, or use another pattern.'
      )


def keep_of_matrix(scores, share):
  """Returns where to keep, [inputs, outputs]: all but the `share` of lowest scores."""
  flat = scores.reshape(-1)
  return _keep(flat[None], share)[0].reshape(scores.shape)


def keep_of_outputs(scores, share):
  """Returns where to keep: all but the `share` of lowest scores of each output."""
  return _keep(scores.T, share).T


def _keep(rows, share):
  """Returns all but the lowest int(share x size) of each row; of equals the later."""
  drop = int(share * rows.shape[1])
  order = np.argsort(rows, axis=1, kind='stable')
  is_kept = np.ones(rows.shape, bool)
  np.put_along_axis(is_kept, order[:, :drop], False, axis=1)
  return is_kept


def keep_of_groups(scores, kept, group):
  """Returns where to keep: the `kept` highest of every `group` inputs of an output."""
  inputs, outputs = scores.shape
  groups = scores.T.reshape(outputs * (inputs // group), group)
  order = np.argsort(groups, axis=1, kind='stable')
  is_kept = np.ones(groups.shape, bool)
  np.put_along_axis(is_kept, order[:, : group - kept], False, axis=1)
  return is_kept.reshape(outputs, inputs).T


def as_matrices(linear, values):
  """Returns a kernel as [layers, inputs, outputs]; one layer where they are apart."""
  values = np.asarray(values)
  stack, letters = len(linear.stack), linear.letters[1]
  order = [stack + letters.index(one) for one in linear.contracted + linear.kept]
  values = values.transpose(*range(stack), *order)
  return values.reshape(-1, linear.fan_in, linear.fan_out)


def as_kernel(linear, matrices):
  """Returns the kernel that `as_matrices` made [layers, inputs, outputs] of."""
  stack, letters = linear.stack, linear.letters[1]
  order = linear.contracted + linear.kept
  values = matrices.reshape(*stack, *linear.sizes(order))
  back = [len(stack) + order.index(letter) for letter in letters]
  return values.transpose(*range(len(stack)), *back)
