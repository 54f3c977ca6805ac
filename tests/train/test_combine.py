"""Sums of adapters: exact updates, other bases refused, tasks taken away."""

import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.peft import lora_updates
from gpt_jax.train import combine, resume
from gpt_jax.workdir.paths import Workdir
from tests.peft_formats import runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('combine')
  runs.gpt2(folder / 'base')
  runs.gpt2(folder / 'other_base', seed=1)
  for name, options in (
    ('a', dict(rank=2)),
    ('b', dict(rank=3, targets='query|up', alpha=5.0, biases='targets', seed=1)),
    ('c', dict(rank=2, seed=2, rank_stabilized=True)),
    ('pissa', dict(rank=2, init='pissa', seed=3)),
    ('unrolled', dict(rank=2, targets='layers_1', scan=False, seed=4)),
    ('dora', dict(rank=2, dora=True)),
    ('nf4', dict(rank=2, base_storage='nf4')),
    ('nf4_too', dict(rank=2, base_storage='nf4', seed=5)),
  ):
    runs.write(folder / name, folder / 'base', **options)
  runs.write(folder / 'other', folder / 'other_base', rank=2)
  return folder


def updates_of(path):
  run = runs.open_run(path)
  leaves = run.read(lora_updates.names(run.config))
  found = lora_updates.read(run.config, leaves)
  return {path: update.product() for path, update in found.items()}


def logits(path):
  return np.asarray(gpt_jax.load(path).logits(runs.TOKENS_BT))


@pytest.mark.parametrize(
  'names, weights',
  [
    (['a', 'b'], [0.7, 0.3]),
    (['a', 'c'], [1.0, -0.5]),
    (['a', 'pissa'], [1.0, 1.0]),
    (['a', 'unrolled'], [0.5, 2.0]),
    (['unrolled', 'b', 'c'], [0.5, 2.0, -1.0]),
    (['a'], [-1.0]),
  ],
)
def test_the_update_is_the_weighted_sum(folder, names, weights, tmp_path):
  paths = [folder / name for name in names]
  ranks = combine.combine(paths, weights, tmp_path / 'sum')
  found, wanted = updates_of(tmp_path / 'sum'), {}
  for path, weight in zip(paths, weights, strict=True):
    for name, update in updates_of(path).items():
      wanted[name] = wanted.get(name, 0) + weight * update
  assert found.keys() == wanted.keys() == ranks.keys()
  for name, value in wanted.items():
    np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
  assert np.isfinite(logits(tmp_path / 'sum')).all()


def test_a_sum_with_weight_one_is_the_adapter(folder, tmp_path):
  combine.combine([folder / 'b'], [1.0], tmp_path / 'same')
  np.testing.assert_allclose(
    logits(tmp_path / 'same'), logits(folder / 'b'), atol=1e-5, rtol=0
  )


def test_opposite_weights_give_the_base_back(folder, tmp_path):
  combine.combine([folder / 'b', folder / 'b'], [1.5, -1.5], tmp_path / 'none')
  np.testing.assert_allclose(
    logits(tmp_path / 'none'), logits(folder / 'base'), atol=1e-4, rtol=0
  )


def test_a_rounded_base_stays_rounded(folder, tmp_path):
  base, out = tmp_path / 'rounded', tmp_path / 'sum'
  combine.combine([folder / 'nf4', folder / 'nf4_too'], [0.5, -2.0], out)
  assert combine.base_storage(out) == 'nf4'
  combine.combine([folder / 'nf4', folder / 'nf4'], [1.0, -1.0], base)
  assert abs(logits(base) - logits(folder / 'base')).max() > 1e-3
  combine.combine([out, folder / 'nf4_too'], [1.0, 2.0], tmp_path / 'half')
  combine.combine([folder / 'nf4'], [0.5], tmp_path / 'wanted')
  np.testing.assert_allclose(
    logits(tmp_path / 'half'), logits(tmp_path / 'wanted'), atol=1e-4, rtol=0
  )


def test_bases_rounded_otherwise_are_refused(folder, tmp_path):
  with pytest.raises(ConfigError, match="base_storage: 'nf4' in .*'as_is' in .*again"):
    combine.combine([folder / 'nf4', folder / 'a'], [1, 1], tmp_path / 'sum')
  assert not (tmp_path / 'sum').exists()


def test_biases_move_by_the_weighted_sum(folder, tmp_path):
  combine.combine([folder / 'a', folder / 'b'], [1.0, 0.25], tmp_path / 'sum')
  name = 'layers/block_0/mlp/up/bias'
  sums, run = runs.open_run(tmp_path / 'sum'), runs.open_run(folder / 'b')
  base = runs.open_run(folder / 'a')
  start, end = base.read([name])[name], run.read([name])[name]
  wanted = start + 0.25 * (end - start)
  np.testing.assert_allclose(sums.read([name])[name], wanted, atol=1e-6)


def test_linear_sums_factors_of_equal_rank(folder, tmp_path):
  runs.write(tmp_path / 'd', folder / 'base', rank=2, seed=9)
  paths, weights = [folder / 'a', tmp_path / 'd'], [0.5, -2.0]
  combine.combine(paths, weights, tmp_path / 'sum', how='linear')
  parts = []
  for path in paths:
    run = runs.open_run(path)
    leaves = run.read(lora_updates.names(run.config))
    parts.append(lora_updates.read(run.config, leaves))
  found = updates_of(tmp_path / 'sum')
  for name, product in found.items():
    one, two = (part[name] for part in parts)
    root, other = (0.5 * one.scale) ** 0.5, (2.0 * two.scale) ** 0.5
    a = root * one.a.reshape(8, 2) - other * two.a.reshape(8, 2)
    b = root * one.b.reshape(2, 8) + other * two.b.reshape(2, 8)
    np.testing.assert_allclose(product, a @ b, atol=1e-5, err_msg=name)
  with pytest.raises(ConfigError, match='--how=cat takes any'):
    combine.combine([folder / 'a', folder / 'b'], weights, tmp_path / 'x', how='linear')


def test_another_base_is_refused_with_both_fingerprints(folder, tmp_path):
  prints = [runs.open_run(folder / name).base.fingerprint for name in ('a', 'other')]
  with pytest.raises(ConfigError) as error:
    combine.combine([folder / 'a', folder / 'other'], [1, 1], tmp_path / 'sum')
  assert all(one in str(error.value) for one in prints)
  assert not (tmp_path / 'sum').exists()


def test_what_is_no_sum_is_refused(folder, tmp_path):
  with pytest.raises(ConfigError, match='DoRA scales whole columns'):
    combine.combine([folder / 'a', folder / 'dora'], [1, 1], tmp_path / 'sum')
  with pytest.raises(ConfigError, match='1 for 2 adapters'):
    combine.combine([folder / 'a', folder / 'b'], [1], tmp_path / 'sum')


def test_the_command_says_what_was_summed(folder, tmp_path, capsys):
  adapters = f'{folder / "a"},{folder / "b"}'
  arguments = [f'--adapters={adapters}', '--weights=0.7,-0.3']
  out = tmp_path / 'sum'
  assert cli.main(['checkpoint', 'combine', *arguments, f'--out={out}']) == 0
  said = capsys.readouterr().out
  assert '0.7 x' in said and '-0.3 x' in said and 'rank 5 at most' in said
  with pytest.raises(CheckpointError, match='a sum of several adapters'):
    resume.refuse_imported(Workdir(out))
  assert cli.main(['checkpoint', 'combine', f'--out={out}']) == 2
  arguments = [f'--adapters={folder / "nf4"}', '--weights=2', f'--out={out}_2']
  assert cli.main(['checkpoint', 'combine', *arguments]) == 0
  assert 'stays rounded as that of the adapters: nf4' in capsys.readouterr().out
