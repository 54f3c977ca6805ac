"""Intruders that were planted are counted, and no others."""

import numpy as np
import pytest
import scipy.linalg

from gpt_jax.analysis import intruder_dimensions
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.train import loop, merge
from tests import tiny_runs


def orthogonal(rng, size):
  return np.linalg.qr(rng.normal(size=(size, size)))[0]


def planted(strength, num=1):
  """Returns a matrix with 8 strong directions, and the same with `num` new ones.

  Each new one is an equal mixture of 16 weak directions: its cosines are 1/4.
  """
  rng = np.random.default_rng(0)
  left_II, right_OO = orthogonal(rng, 24), orthogonal(rng, 24)
  # No two alike, here and below: of equal ones an SVD may find any mixture.
  values = np.concatenate([np.linspace(8.0, 1.0, 8), np.linspace(0.1, 0.05, 16)])
  mixtures = np.zeros((24, 24))
  mixtures[8 : 8 + num, 8:] = scipy.linalg.hadamard(16)[:num] / 4
  mixtures[8 : 8 + num] *= 1 + np.arange(num)[:, None]
  base_IO = left_II * values @ right_OO
  return base_IO, base_IO + strength * left_II @ mixtures @ right_OO


@pytest.mark.parametrize('num', [0, 1, 3])
def test_planted_intruders_are_counted(num):
  base_IO, tuned_IO = planted(20.0, num)
  assert intruder_dimensions.count(base_IO, tuned_IO, top=8) == num


def test_a_weak_intruder_is_not_among_the_first():
  base_IO, tuned_IO = planted(0.5)
  assert intruder_dimensions.count(base_IO, tuned_IO, top=8) == 0
  assert intruder_dimensions.count(base_IO, tuned_IO, top=9) == 1


def test_other_lengths_and_signs_are_no_intruders():
  base_IO, _ = planted(0.0)
  assert intruder_dimensions.count(base_IO, -3.0 * base_IO, top=8) == 0


def test_directions_are_those_of_outputs():
  base_IO, _ = planted(0.0)
  mixed_IO = orthogonal(np.random.default_rng(1), 24) @ base_IO  # other inputs
  assert intruder_dimensions.count(base_IO, mixed_IO, top=8) == 0
  assert intruder_dimensions.count(base_IO.T, mixed_IO.T, top=8) > 0


def test_the_threshold_is_that_of_the_largest_cosine():
  base_IO = np.diag([3.0, 2.0, 0.0, 0.0])[:2]
  angle = np.radians(50.0)  # of a new second direction to the old one
  tuned_IO = np.array([[3.0, 0, 0, 0], [0, 2 * np.cos(angle), 2 * np.sin(angle), 0]])
  found = [
    intruder_dimensions.count(base_IO, tuned_IO, threshold=np.cos(np.radians(limit)))
    for limit in (49.0, 51.0)
  ]
  assert found == [1, 0]


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Returns the workdirs of a base and of a LoRA run over it, with large updates."""
  folder = tmp_path_factory.mktemp('runs')
  loop.train(tiny_runs.tiny_config(tiny_runs.ONE_LAYER), folder / 'base')
  adapted = tiny_runs.ONE_LAYER | {
    'init_from': str(folder / 'base'), 'peft.name': 'lora', 'peft.options.rank': 1,
    'peft.options.targets': 'query|value', 'peft.options.alpha': 1e3,
  }  # fmt: skip
  loop.train(tiny_runs.tiny_config(adapted), folder / 'lora')
  return folder


def test_of_a_run_they_are_in_what_it_has_changed(runs):
  found = intruder_dimensions.of_runs(runs / 'base', runs / 'lora')
  changed = {name for name, number in found.counts.items() if number}
  assert changed and len(found.counts) == 6
  assert all(name.endswith(('query', 'value')) for name in changed)
  assert found.total == sum(found.counts.values())


def test_a_merged_run_has_those_of_its_adapter(runs, tmp_path):
  merge.merge(runs / 'lora', tmp_path / 'plain')
  one, other = (
    intruder_dimensions.of_runs(runs / 'base', tuned).counts
    for tuned in (runs / 'lora', tmp_path / 'plain')
  )
  assert one == other


def test_a_run_beside_itself_has_none(runs):
  assert intruder_dimensions.of_runs(runs / 'base', runs / 'base').total == 0


@pytest.mark.slow  # a training more
def test_layers_of_a_scan_are_counted_apart(tmp_path):
  loop.train(tiny_runs.tiny_config(), tmp_path)
  kernels = intruder_dimensions.kernels_of(tmp_path)
  leaves = dict(pytree.named_leaves(intruder_dimensions.api.load(tmp_path).params))
  stacked = np.asarray(leaves['layers/block_0/attention/out/kernel'])
  assert len(kernels) == 12
  np.testing.assert_array_equal(
    kernels['layers/block_0/attention/out/1'], stacked[1].reshape(32, 32)
  )


@pytest.mark.slow  # a training more
def test_a_run_that_is_no_plain_model_is_refused(runs, tmp_path):
  fields = {
    'init_from': str(runs / 'base'), 'peft.name': 'p_tuning_v2',
    'peft.options.length': 2,
  }  # fmt: skip
  loop.train(tiny_runs.tiny_config(tiny_runs.ONE_LAYER | fields), tmp_path)
  with pytest.raises(ConfigError, match="peft.name='p_tuning_v2' cannot be merged"):
    intruder_dimensions.of_runs(runs / 'base', tmp_path)


def test_models_of_other_shapes_are_refused(monkeypatch):
  kernels = {'base': {'a': np.eye(2), 'b': np.eye(3)}, 'tuned': {'a': np.eye(2)}}
  monkeypatch.setattr(intruder_dimensions, 'kernels_of', kernels.__getitem__)
  with pytest.raises(ConfigError, match='their linear maps differ, such as b'):
    intruder_dimensions.of_runs('base', 'tuned')


def test_the_command_prints_a_table(runs, capsys):
  arguments = [str(runs / 'base'), str(runs / 'lora'), '--top=4']
  assert intruder_dimensions.main(arguments) == 0
  text = capsys.readouterr().out
  assert 'intruders of 4 vectors of each matrix' in text
  assert 'attention/query' in text
  assert intruder_dimensions.main([str(runs / 'none'), str(runs / 'lora')]) != 0
  assert 'intruder_dimensions: error: ' in capsys.readouterr().err
