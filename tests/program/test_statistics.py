"""Statistics of a training batch: on meshes, in parts, beside any training step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives import Vocab
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import statistics
from gpt_jax.program.build import build_program
from gpt_jax.train import loop
from tests import tiny_runs

ALL = ('max_attention_logit', 'residual_rms', 'prefix_matching', 'log_z')
SMALL = {
  'model.d_model': 16, 'data.seq_len': 8, 'train.batch_size': 8,
  'logging.statistics': ALL, 'model.position': 'learned',
}  # fmt: skip


def measured(overrides=None, devices=1, vocab=13):
  config = tiny_runs.tiny_config(SMALL | (overrides or {}))
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
  program = build_program(config, vocab=Vocab(vocab), mesh=mesh)
  rng = np.random.default_rng(0)
  batch = {
    'tokens': rng.integers(0, vocab, (8, 9), np.int32),
    'segments': (np.arange(9)[None] < rng.integers(5, 10, (8, 1))).astype(np.int32),
  }
  state = program.init(0)
  sums = jax.device_get(program.measure(state, batch))
  return program, state, batch, program.measurement.finished(sums)


@pytest.fixture(scope='module')
def alone():
  return measured()


@pytest.mark.slow
def test_log_z_and_logits_are_those_of_the_model(alone):
  program, state, batch, found = alone
  example = program.objective(batch, jax.random.key(0))
  logits_BTV, _ = jax.jit(
    lambda params: program.model.apply(
      {'params': params}, example.inputs_BT, example.mask
    )
  )(state.params)
  is_token_BT = batch['segments'][:, :-1] != 0
  logits = np.asarray(logits_BTV, np.float64)[is_token_BT]
  log_z = np.log(np.exp(logits).sum(-1))
  assert found['statistics/log_z'] == pytest.approx(log_z.mean(), rel=1e-5)
  rms = np.sqrt(np.mean(log_z**2))
  assert found['statistics/log_z/logits/rms'] == pytest.approx(rms, rel=1e-5)
  rms = np.sqrt(np.mean(logits**2))
  assert found['statistics/residual_rms/logits'] == pytest.approx(rms, rel=1e-5)


MESHES = {
  'two microbatches': ({'train.grad_accum': 2}, 1),
  'recomputed layers': ({'model.remat': 'full'}, 1),
  'tensor': ({'parallel.mesh': {'data': 2, 'tensor': 2}}, 4),
  'sequence': (
    {'parallel.mesh': {'fsdp': 2, 'sequence': 2}, 'parallel.preset': 'sequence'}, 4
  ),
}  # fmt: skip


@pytest.mark.parametrize('case', tiny_runs.mostly_slow(MESHES))
def test_meshes_and_parts_of_a_batch_change_no_number(case, alone):
  *_, found = measured(*MESHES[case])
  assert found == pytest.approx(alone[-1], rel=2e-5)


@pytest.mark.slow
def test_bfloat16_is_reduced_in_float32(alone):
  *_, found = measured({'model.dtype': 'bfloat16'})
  # Sums of bfloat16 would stop growing at 256 times their terms.
  assert found == pytest.approx(alone[-1], rel=0.03)
  values = np.array([value for name, value in found.items() if 'logit' not in name])
  assert (values.astype(jnp.bfloat16).astype(float) != values).any()


@pytest.mark.slow
def test_ids_that_pad_the_vocabulary_do_not_count():
  program, state, batch, found = measured({'model.pad_vocab_to_multiple_of': 64})
  embedding = state.params['embed']['embedding'].at[13:].set(1e3)
  params = state.params | {'embed': {'embedding': embedding}}
  sums = jax.device_get(program.measure(state.replace(params=params), batch))
  assert program.measurement.finished(sums) == pytest.approx(found)


def test_logits_that_exceed_memory_are_made_in_parts(monkeypatch):
  config = tiny_runs.tiny_config(SMALL)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  measurement = build_program(config, vocab=Vocab(13), mesh=mesh).measurement
  assert measurement._num_parts(8, 8) == 1
  row = 4 * 8 * 16  # one row of 8 tokens: 16 ids or scores each
  monkeypatch.setattr(statistics, 'PART_BYTES', 4 * row)
  assert measurement._num_parts(8, 8) == 2
  monkeypatch.setattr(statistics, 'PART_BYTES', 1)
  assert measurement._num_parts(8, 8) == 8


def test_without_statistics_nothing_is_measured():
  config = tiny_runs.tiny_config()
  program = build_program(config, vocab=Vocab(16))
  assert program.measurement is None
  assert program.model.watched == ()


def test_a_task_head_has_no_log_z():
  overrides = {
    'objective.name': 'class_labels', 'objective.options.num_labels': 2,
    'logging.statistics': ('log_z',),
  }  # fmt: skip
  config = tiny_runs.tiny_config(overrides)
  with pytest.raises(ConfigError, match='log_z is of logits over tokens'):
    build_program(config, vocab=Vocab(16))


@pytest.mark.slow
def test_a_run_with_statistics_has_the_losses_of_one_without(tmp_path):
  plain, watched = tmp_path / 'plain', tmp_path / 'watched'
  loop.train(tiny_runs.tiny_config(), plain, quiet=True)
  fields = {'logging.statistics': ALL, 'logging.statistics_every_steps': 4}
  loop.train(tiny_runs.tiny_config(fields), watched, quiet=True)
  assert tiny_runs.losses(watched) == tiny_runs.losses(plain)
  steps = [r['step'] for r in tiny_runs.lines(watched) if 'statistics/log_z' in r]
  assert steps == [4, 6]
