"""What differs between the configs of a study is found, in whatever order they come."""

import itertools

import jax
import numpy as np

from gpt_jax.program import literals, variants
from tests import tiny_runs


def configs(rates, decays):
  return [
    tiny_runs.tiny_config(
      {'optimizer.learning_rate': rate, 'optimizer.weight_decay': decay, 'seed': seed}
    )
    for rate, decay, seed in itertools.product(rates, decays, (0, 1))
  ]


def program(config):
  """Returns the Traced of a step in which a decay of zero is not there."""

  def step(x):
    x = x * config.optimizer.learning_rate
    return x - x * config.optimizer.weight_decay if config.optimizer.weight_decay else x

  return literals.trace(step, jax.ShapeDtypeStruct((2,), np.float32))


def paths(found, structure):
  """Returns the paths in the one group of `found`, and how many were traced."""
  (group,) = variants.by_shape(found).values()
  traced = []

  def trace(config):
    traced.append(config)
    return program(config)

  return variants.paths(group, structure, trace), len(traced)


def test_numbers_are_found_in_any_order_of_the_configs():
  every = configs((0.1, 0.2, 0.3), (0.0, 0.1, 0.2, 0.3))
  for number_of_paths, decay in ((1, 0.0), (2, 0.1)):
    structure = program(configs((0.1,), (decay,))[0]).structure
    found, _ = paths(every, structure)
    assert len(found) == number_of_paths
    assert paths(every[::-1], structure)[0] == found


def test_a_large_study_is_not_traced_in_full():
  every = configs([i / 100 for i in range(1, 31)], (0.0, 0.1))
  found, num_traced = paths(every, program(every[-1]).structure)
  assert len(found) == 1 and num_traced <= 2 * variants.MAX_MISSES


def test_seeds_and_folders_make_no_other_config():
  one = tiny_runs.tiny_config({'seed': 1, 'logging.figures': False})
  other = tiny_runs.tiny_config({'seed': 2, 'init_from': '/elsewhere'})
  (group,) = variants.by_shape([one, other]).values()
  assert len(group) == 1
