"""Intruder dimensions: directions of a tuned matrix that the one before does not have.

Shuttleworth et al. 2024, arXiv:2410.21228, algorithm 1: of the singular vectors with
the largest singular values of a tuned matrix, those whose cosine with every singular
vector of the pretrained matrix is small.

  python -m gpt_jax.analysis.intruder_dimensions runs/pretrained runs/tuned
"""

import argparse
import dataclasses
import math
import sys

import numpy as np

from gpt_jax import api
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.peft import linears
from gpt_jax.tracking import console

TOP, THRESHOLD = 10, 0.5
"""How many singular vectors are looked at, and the cosine below which one intrudes."""


@dataclasses.dataclass(frozen=True)
class Intruders:
  """Of all linear maps of a model, those in the blocks."""

  counts: dict[str, int]  # matrix, of a stack its number at the end -> intruders
  looked_at: int  # singular vectors of each matrix, at most

  @property
  def total(self):
    return sum(self.counts.values())


def count(base_IO, tuned_IO, *, top=TOP, threshold=THRESHOLD):
  """Returns how many of the first `top` output directions of `tuned_IO` intrude.

  Kernels are [inputs, outputs]: y = x W. Directions are those of outputs, the left
  singular vectors of the paper, which writes y = W x. A sign is no difference.
  """
  before_RO = np.linalg.svd(_float64(base_IO), full_matrices=False)[2]
  after_RO = np.linalg.svd(_float64(tuned_IO), full_matrices=False)[2]
  cosines_RR = np.abs(after_RO[:top] @ before_RO.T)
  return int(np.sum(cosines_RR.max(axis=1) < threshold))


def of_runs(base, tuned, *, top=TOP, threshold=THRESHOLD):
  """Returns the Intruders of the run `tuned` over the run `base`, both workdirs.

  Adapters that can be merged are. Raises ConfigError for a run that is no plain model
  then, and for two models with different linear maps.
  """
  before, after = kernels_of(base), kernels_of(tuned)
  shapes = [{name: one.shape for name, one in each.items()} for each in (before, after)]
  if shapes[0] != shapes[1]:
    differ = sorted(dict(shapes[0].items() ^ shapes[1].items()))
    raise ConfigError(
      f'{base}, {tuned}: their linear maps differ, such as {differ[0]}; expected a run'
      ' and one that started from it (init_from).'
    )
  counts = {
    name: count(before[name], after[name], top=top, threshold=threshold)
    for name in before
  }
  return Intruders(counts, top)


def _float64(kernel):
  return np.asarray(kernel, np.float64)


def kernels_of(workdir):
  """Returns {matrix: float32 [inputs, outputs]} of a run's linear maps."""
  run = api.load(workdir)
  if run.config.peft.name:
    raise ConfigError(
      f'{workdir}: peft.name={run.config.peft.name!r} cannot be merged into the'
      ' matrices; intruder dimensions are those of a matrix that has changed.'
    )
  leaves = dict(pytree.named_leaves(run.params))
  found = {}
  for linear in linears.find(run.config.model):
    kernels = np.asarray(leaves[linear.kernel], np.float32)
    kernels = kernels.reshape(-1, *kernels.shape[len(linear.stack) :])
    for i, kernel in enumerate(kernels):
      name = f'{linear.path}/{i}' if linear.stack else linear.path
      found[name] = _as_matrix(linear, kernel)
  return found


def _as_matrix(linear, kernel):
  letters, order = linear.letters[1], linear.contracted + linear.kept
  kernel = kernel.transpose([letters.index(letter) for letter in order])
  return kernel.reshape(math.prod(linear.sizes(linear.contracted)), -1)


def main(arguments=None):
  parser = argparse.ArgumentParser(
    prog='python -m gpt_jax.analysis.intruder_dimensions', description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
  )  # fmt: skip
  parser.add_argument('base', help='workdir of the run that `tuned` started from')
  parser.add_argument('tuned', help='workdir')
  parser.add_argument('--top', type=int, default=TOP, help='singular vectors of each')
  parser.add_argument('--threshold', type=float, default=THRESHOLD, help='of cosines')
  args = parser.parse_args(arguments)
  try:
    found = of_runs(args.base, args.tuned, top=args.top, threshold=args.threshold)
  except UserError as error:
    print(f'intruder_dimensions: error: {error}', file=sys.stderr)
    return error.exit_code
  title = f'{found.total} intruders of {found.looked_at} vectors of each matrix'
  console.table(title, ('matrix', 'intruders'), list(found.counts.items()))
  return 0


if __name__ == '__main__':
  sys.exit(main())
