"""The cases of a bench run the step, engine, loader and kernels of real runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import attention, benchmarks
from gpt_jax.attention import dense
from gpt_jax.benchmarks import (
  decoding,
  kernels,
  peaks,
  session,
  timing,
  training,
  workload,
)
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import loader
from gpt_jax.inference.engine import Engine
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.planning import inputs
from gpt_jax.program.build import build_program
from tests import tiny_runs

TINY_PEAK = (16, 4096)


def make_program(overrides=None):
  config = tiny_runs.tiny_config({'model.num_layers': 1, **(overrides or {})})
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  return build_program(config, vocab=inputs.vocabulary(config), mesh=mesh)


def make_timed(workdir, overrides=None):
  program = make_program(overrides)
  shapes = inputs.abstract_batch(program)
  return workload.make_workload(program, shapes, num_ids=16, workdir=workdir)


@pytest.fixture
def timed(tmp_path):
  return make_timed(tmp_path)


def test_the_batch_has_shapes_of_training_and_valid_ids(timed):
  shapes = inputs.abstract_batch(timed.program)
  assert {n: x.shape for n, x in timed.batch.items()} == {
    n: s.shape for n, s in shapes.items()
  }
  tokens_BN = np.asarray(timed.batch['tokens'])
  assert tokens_BN.min() >= 0
  assert tokens_BN.max() == 15
  assert (timed.rows, timed.tokens) == (8, 8 * 16)


def test_a_batch_with_segments_has_one_document_a_row():
  shape = jax.ShapeDtypeStruct((2, 5), jnp.int32)
  names = ('tokens', 'segments', 'positions')
  batch = workload.random_batch(dict.fromkeys(names, shape), 7)
  np.testing.assert_array_equal(batch['segments'], np.ones((2, 5)))
  np.testing.assert_array_equal(batch['positions'], [range(5), range(5)])


def test_the_step_is_the_programs_and_updates_the_state(timed):
  expected = timed.program.init(timed.config.seed)
  for _ in range(3):
    expected, metrics = timed.program.step(expected, timed.batch)
  (case,) = training.step(timed)
  case.run(2)
  case.run(1)
  assert int(timed.state.step) == 3
  tiny_runs.assert_same(
    tiny_runs.named(timed.state.params), tiny_runs.named(expected.params)
  )
  assert timed.first_loss['gpt_jax'] == pytest.approx(np.log(16), rel=0.2)
  assert case.tokens == 8 * 16
  assert case.memory_gib > 0


def test_the_forward_pass_keeps_the_state(timed):
  (step_case,), (case,) = training.step(timed), training.forward(timed)
  case.run(2)
  assert int(timed.state.step) == 0
  step_case.run(1)
  case.run(1)  # with the parameters that the step has left
  assert case.flops == step_case.flops / 3


def test_decoding_uses_the_engine_and_subtracts_prefill(timed, monkeypatch):
  calls = []
  usual = Engine.generate

  def generate(self, prompts_ids, *, max_new_tokens, **settings):
    calls.append((len(prompts_ids), len(prompts_ids[0]), max_new_tokens))
    return usual(self, prompts_ids, max_new_tokens=max_new_tokens, **settings)

  monkeypatch.setattr(Engine, 'generate', generate)
  prefill, decode = decoding.cases(timed, batch_sizes=(2,))
  calls.clear()
  prefill.run(1)
  decode.run(1)
  assert calls == [(2, 8, 1), (2, 8, 8)]
  assert (prefill.name, decode.name, decode.minus) == (
    'prefill_2',
    'decode_2',
    'prefill_2',
  )
  assert (prefill.tokens, decode.tokens) == (2 * 8, 2 * 7)


@pytest.mark.parametrize('seq_len, half', [(1024, 128), (256, 128), (200, 64), (16, 8)])
def test_prompt_and_continuation_fit_the_sequence(seq_len, half):
  assert decoding.prompt_length(seq_len) == half
  assert 2 * half <= seq_len


def test_a_token_reads_the_weights_and_the_cache(timed):
  (_, decode) = decoding.cases(timed, batch_sizes=(1,))
  model = timed.config.model
  weights = sum(x.nbytes for x in jax.tree.leaves(timed.state.params))  # tied, rope
  cache = 2 * model.num_layers * model.num_kv_heads * model.head_dim * 4
  assert decode.bytes == 7 * (weights + 12 * cache)


def test_embeddings_that_are_looked_up_are_not_read(tmp_path):
  overrides = {'model.position': 'learned', 'model.tie_embeddings': False}
  timed = make_timed(tmp_path, overrides)
  params = timed.state.params
  everything = sum(x.nbytes for x in jax.tree.leaves(params))
  embeddings = (
    params['embed']['embedding'].nbytes + params['position']['embedding'].nbytes
  )
  read = decoding.token_bytes(timed.config, params, rows=1, cached=0)
  assert read == everything - embeddings


def test_a_bidirectional_model_is_refused(tmp_path):
  timed = make_timed(tmp_path, {'objective.name': 'masked_lm'})
  with pytest.raises(ConfigError, match='leave decode out of --what'):
    decoding.cases(timed)


def test_the_loader_reads_new_batches_of_the_runs_data(timed, monkeypatch):
  read = []
  usual = loader.Loader._read

  def reading(self, ranges):
    read.append(list(ranges))
    yield from usual(self, read[-1])

  monkeypatch.setattr(loader.Loader, '_read', reading)
  (case,) = training.loader(timed)
  case.run(3)
  case.run(1)
  assert read == [[(0, 8), (8, 8), (16, 8)], [(8, 8)]]
  assert case.tokens == 8 * 16


def test_kernels_are_called_as_in_the_model(monkeypatch):
  seen = []

  def probe(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap=0.0, dropout=None):
    seen.append((q_BHTK.shape, k_BGSK.shape, q_BHTK.dtype.name, mask.causal, scale))
    return dense.attend(q_BHTK, k_BGSK, v_BGSK, mask, scale=scale)

  monkeypatch.setattr(attention, 'KERNELS', {'probe': probe})
  cases = kernels.sweep([16, 32], heads=4, kv_heads=2, head_dim=16, dtype='bfloat16')
  assert [case.name for case in cases] == [
    f'attention/probe/{T}/{passes}' for T in (16, 32) for passes in ('forward', 'both')
  ]
  # As many tokens at each length.
  assert seen[0] == ((2, 4, 16, 16), (2, 2, 16, 16), 'bfloat16', True, 0.25)
  assert seen[-1] == ((1, 4, 32, 16), (1, 2, 32, 16), 'bfloat16', True, 0.25)
  for case in cases:
    case.run(1)


def test_a_kernel_that_fails_is_skipped(monkeypatch):
  def refuses(*inputs, **options):
    raise ConfigError('needs a TPU')

  def exhausted(*inputs, **options):
    raise RuntimeError('RESOURCE_EXHAUSTED: 17 GiB')

  monkeypatch.setattr(attention, 'KERNELS', {'no': refuses, 'big': exhausted})
  cases = kernels.sweep([16], heads=1, kv_heads=1, head_dim=8, dtype='float32')
  assert [type(case) for case in cases] == [timing.Skipped] * 4
  assert cases[0].reason == 'needs a TPU'
  assert 'no memory' in cases[2].reason


def test_causal_flops_are_half_of_the_square():
  assert kernels.causal_flops(2, 8, 3, 4, 'forward') == 4 * 2 * 3 * 4 * 8 * 8 / 2
  ratio = kernels.causal_flops(1, 8, 1, 4, 'both') / kernels.causal_flops(
    1, 8, 1, 4, 'forward'
  )
  assert ratio == 3.5


def test_every_registered_kernel_is_timed(timed):
  shown = {case.name.split('/')[1] for case in kernels.cases(timed)}
  assert shown == set(attention.KERNELS)


def test_the_copy_counts_reads_and_writes():
  matmul, copy = peaks.cases('bfloat16', TINY_PEAK)
  matmul.run(2)
  copy.run(2)
  assert matmul.flops == 2 * 16**3
  assert copy.bytes == 2 * 4096


def run_session(program, entries, workdir, monkeypatch):
  monkeypatch.setattr(timing, 'MIN_SECONDS', 0.0)
  return session.run(
    program,
    inputs.abstract_batch(program),
    entries,
    num_ids=16,
    workdir=workdir,
    rounds=2,
    peak_size=TINY_PEAK,
  )


def test_a_session_times_all_entries_and_the_peaks(tmp_path, monkeypatch):
  monkeypatch.setattr(attention, 'KERNELS', {'dense': dense.attend})
  report = run_session(make_program(), benchmarks.CASES, tmp_path, monkeypatch)
  assert set(report.cases) == {
    'matmul', 'copy', 'step', 'forward', 'prefill_1', 'prefill_8', 'decode_1',
    'decode_8', 'loader',
    *(f'attention/dense/{T}/{p}' for T in (16, 32) for p in ('forward', 'both')),
  }  # fmt: skip
  assert report.skipped == {}
  assert {len(case.rounds_ms) for case in report.cases.values()} == {2}


def refuse(timed):
  raise ConfigError('cannot be timed')


def test_an_entry_that_refuses_is_skipped_among_others(tmp_path, monkeypatch):
  entries = {'forward': training.forward, 'odd': refuse}
  report = run_session(make_program(), entries, tmp_path, monkeypatch)
  assert report.skipped == {'odd': 'cannot be timed'}
  assert 'forward' in report.cases


def test_an_only_entry_that_refuses_is_an_error(tmp_path, monkeypatch):
  with pytest.raises(ConfigError, match='cannot be timed'):
    run_session(make_program(), {'odd': refuse}, tmp_path, monkeypatch)


def test_a_step_without_memory_is_skipped(timed, monkeypatch):
  def compiled(lowered):
    raise RuntimeError('RESOURCE_EXHAUSTED: 99 GiB')

  monkeypatch.setattr(timing, 'compiled', compiled)
  for entry in (training.step, training.forward):
    (skipped,) = entry(timed)
    assert 'no memory' in skipped.reason
