"""What a method of compression costs a finished run, in nats of held-out loss.

python -m gpt_jax.analysis.compression runs/tiny int8 int4:group=32
"""

import argparse
import dataclasses
import functools
import pathlib
import sys
import tempfile

import jax.numpy as jnp

from gpt_jax.compress import Compressed, folding, method_flag
from gpt_jax.core.errors import UserError
from gpt_jax.core.sections import NoOptions
from gpt_jax.tracking import console
from gpt_jax.train import compress, score_run

OUTLIER = 3
"""The feature that `planted` makes large."""


@dataclasses.dataclass(frozen=True)
class Cost:
  """Of one method on one run."""

  loss: float  # of the compressed run, nats
  difference: float  # to that of the run before
  share: float  # of its bytes


@functools.cache
def cost(workdir, method, outlier=1.0):
  """Returns the Cost of `method`, as `--method` has it, on the newest step of a run.

  With `outlier`, one feature of each input of the blocks is made so many times as large
  before, by a rescaling that does not change what the model computes.
  """
  name, entry, options = method_flag.parse(method)
  with tempfile.TemporaryDirectory() as folder:
    source, out = str(workdir), pathlib.Path(folder) / 'out'
    if outlier != 1:
      source = str(pathlib.Path(folder) / 'planted')
      plant = functools.partial(planted, size=outlier)
      compress.compress(workdir, source, 'planted', plant, NoOptions())
    made = compress.compress(source, out, name, entry, options)
    after = _loss(out)
  share = made.bytes_after / made.bytes_before
  return Cost(after, after - _loss(workdir), share)


def planted(given, size):
  """Returns the Compressed model, of the same size, with the outlier."""
  cfg = given.config.model
  scales = []
  for one in folding.find(cfg):
    linear = one.readers[0]
    ones = jnp.ones((*linear.stack, linear.fan_in))
    scales.append((one, ones.at[..., OUTLIER].set(1 / size)))
  return Compressed(folding.fold(given.params, cfg, scales), {})


@functools.cache
def _loss(workdir):
  sets = score_run.score_run(str(workdir)).sets
  return next(iter(sets.values()))['loss']


def main(argv=None):
  """Prints the costs of methods on a run."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('workdir')
  parser.add_argument('methods', nargs='+')
  parser.add_argument('--outlier', type=float, default=1.0, metavar='X')
  args = parser.parse_args(argv)
  found = [cost(args.workdir, method, args.outlier) for method in args.methods]
  rows = [
    (method, f'{one.share:.3f}', f'{one.loss:.4f}', f'{one.difference:+.4f}')
    for method, one in zip(args.methods, found, strict=True)
  ]
  console.table(args.workdir, ('method', 'of its bytes', 'loss', 'difference'), rows)


if __name__ == '__main__':
  try:
    main()
  except UserError as error:
    sys.exit(f'error: {error}')
