"""Single weights zeroed: by magnitude, or by Wanda, |weight| times its input's norm.

Parameters keep their shapes, so the model is no smaller in memory; what reads sparse
kernels, or compresses files, gains. Zeros stay in training: the new run's config has
optimizer.post_update='keep_zeros'.
"""

import functools

import numpy as np

from gpt_jax.compress import input_sums, sparsity, storing
from gpt_jax.compress.method import Compressed
from gpt_jax.core import pytree, registry
from gpt_jax.peft import linears

KEEP_ZEROS = 'keep_zeros'


@registry.entry(options=sparsity.OfMatrices)
def magnitude(given):
  """Returns the Compressed model without its smallest weights."""
  options = given.options
  return _pruned(given, 'magnitude', options.compare, _absolute)


@registry.entry(options=sparsity.OfInputs)
def wanda(given):
  """Returns the Compressed model without the weights that matter least on text.

  Wanda (arXiv:2306.11695, section 3): score |W_ij| ||X_j||_2, compared among the inputs
  of each output. All inputs are those of the whole model; the paper prunes layer by
  layer and reads those of the pruned one.
  """
  storing.require_full(given, 'wanda')
  observe = given.require_data('wanda')
  targets = _targets(given, 'wanda')
  sums = observe(input_sums.squares(targets), given.options.batches)
  return _pruned(given, 'wanda', 'output', functools.partial(_by_input, sums))


def _targets(given, method):
  field = f'--method={method}:targets'
  return linears.choose(given.config.model, given.options.targets, field)


def _absolute(linear, matrices):
  del linear
  return np.abs(matrices)


def _by_input(sums, linear, matrices):
  squares = input_sums.stacked(sums, linear.path, input_sums.SQUARES)
  norms = np.sqrt(squares).reshape(len(matrices), linear.fan_in, 1)
  return np.abs(matrices) * norms


def _pruned(given, method, compare, score):
  """Returns the Compressed model; `score`: (LinearMap, matrices) -> their scores."""
  storing.require_full(given, method)
  options = given.options
  pattern, targets = sparsity.check(method, options), _targets(given, method)
  if pattern:
    sparsity.check_sizes(method, pattern, targets)
    keep = functools.partial(sparsity.keep_of_groups, kept=pattern[0], group=pattern[1])
  elif compare == 'matrix':
    keep = functools.partial(sparsity.keep_of_matrix, share=options.sparsity)
  else:
    keep = functools.partial(sparsity.keep_of_outputs, share=options.sparsity)
  leaves, zeros, total = dict(pytree.named_leaves(given.params)), 0, 0
  for linear in given.progress(targets, method, len(targets)):
    kernel = np.asarray(leaves[linear.kernel])
    matrices = sparsity.as_matrices(linear, kernel)
    scores = score(linear, matrices.astype(np.float32))
    is_kept = np.stack([keep(one) for one in scores])
    pruned = np.where(sparsity.as_kernel(linear, is_kept), kernel, 0)
    leaves[linear.kernel] = pruned.astype(kernel.dtype)
    zeros, total = zeros + int((pruned == 0).sum()), total + pruned.size
  notes = {'zeros': zeros, 'of weights': total, 'share': round(zeros / total, 4)}
  return Compressed(pytree.nested(leaves), _fields(given.config, notes), notes)


def _fields(config, notes):
  """Returns the fields that keep zeros in training; adds to `notes` if they cannot."""
  other = config.optimizer.post_update
  if other in ('', KEEP_ZEROS):
    return {'optimizer.post_update': KEEP_ZEROS}
  notes['training'] = f'optimizer.post_update={other!r} stays: zeros may not'
  return {}
