"""Training and evaluation with the fused loss are those with the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.objectives import fused_loss
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import tiny_runs
from tests.hlo.texts import collectives

VOCAB = objectives.Vocab(size=257, eos_id=256)
SGD = tiny_runs.SGD | tiny_runs.ONE_LAYER
SMALL_CHUNKS = 2048
"""Bytes of logits at once: two or more chunks for every mesh below."""

CASES = {
  'tied, smoothed, z-loss, padded embedding': {
    'objective.label_smoothing': 0.1, 'objective.z_loss': 0.01,
    'model.pad_vocab_to_multiple_of': 64,
  },
  'untied, capped, in microbatches': {
    'model.tie_embeddings': False, 'model.logit_softcap': 0.5, 'train.grad_accum': 4,
  },
  'muP, masked': {
    'model.init': 'mup', 'model.mup_base_width': 16, 'objective.name': 'masked_lm',
  },
}  # fmt: skip
MESHES = {
  'fsdp': {'parallel.mesh.data': 2, 'parallel.mesh.fsdp': 4},
  'fsdp_tensor': {
    'parallel.mesh.data': 2, 'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 2
  },
}  # fmt: skip


def build(loss, overrides, devices=1):
  config = tiny_runs.tiny_config(SGD | overrides | {'objective.loss': loss})
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
  return build_program(config, vocab=VOCAB, mesh=mesh)


def batch(rows=8, width=17):
  """Returns rows that end in padding, one more place in each."""
  rng = np.random.default_rng(0)
  is_text = np.arange(width)[None] < width - np.arange(rows)[:, None]
  return {
    'tokens': rng.integers(0, 256, (rows, width)).astype(np.int32),
    'segments': is_text.astype(np.int32),
    'positions': np.where(is_text, np.arange(width), 0).astype(np.int32),
  }


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
  monkeypatch.setattr(fused_loss, 'LOGITS_BYTES', SMALL_CHUNKS)


def one_step(program):
  """Returns (new state, metrics, sums of an evaluation of the start) by name."""
  state = program.init(0)
  rows = jax.device_put(batch(), program.batch_sharding)
  sums = program.evaluate(state.params, rows, 0)
  return tuple(map(tiny_runs.named, (*program.step(state, rows), sums)))


def assert_same_step(overrides, devices):
  programs = [build(loss, overrides, devices) for loss in ('fused', 'plain')]
  assert [program.loss for program in programs] == ['fused', 'plain']
  fused, plain = map(one_step, programs)
  tiny_runs.assert_same(fused[0], plain[0], atol=1e-5)
  tiny_runs.assert_same(fused[1], plain[1], rtol=1e-5, atol=1e-5)
  tiny_runs.assert_same(fused[2], plain[2], rtol=1e-5)


@pytest.mark.parametrize(
  'case', tiny_runs.mostly_slow(CASES, 'untied, capped, in microbatches')
)
def test_a_fused_step_is_the_plain_step(case):
  assert_same_step(CASES[case], devices=1)


@pytest.mark.slow
@pytest.mark.parametrize('rules', tiny_runs.mostly_slow(MESHES, 'fsdp_tensor'))
def test_a_fused_step_over_eight_devices_is_the_plain_step(rules):
  assert_same_step(MESHES[rules] | {'parallel.preset': rules}, devices=8)


def test_chunks_of_the_loss_need_no_collective_between_them():
  program = build('fused', MESHES['fsdp'] | {'parallel.preset': 'fsdp'}, devices=8)
  compiled = program.step.lower(program.abstract_state, batch()).compile()
  inside, outside = collectives(compiled.as_text(), scope='fused_loss')
  assert inside == []
  assert outside


def test_auto_is_decided_by_what_a_device_holds_of_a_microbatch(monkeypatch):
  # 4 bytes x 8 rows x 16 places x 257 ids.
  for limit, overrides, devices, expected in [
    (131_583, {}, 1, 'fused'),
    (131_584, {}, 1, 'plain'),
    (131_583, {'train.grad_accum': 2}, 1, 'plain'),
    (131_584 // 8 - 1, {}, 8, 'fused'),
    (131_584 // 8, {}, 8, 'plain'),
  ]:
    monkeypatch.setattr(fused_loss, 'FUSE_FROM', limit)
    assert build('auto', overrides, devices).loss == expected


def test_large_configs_use_the_fused_loss_and_small_ones_do_not(monkeypatch):
  monkeypatch.undo()
  assert build('auto', {}).loss == 'plain'
  large = {'model.vocab_size': 50304, 'data.seq_len': 1024, 'train.batch_size': 8}
  assert build('auto', large).loss == 'fused'


@pytest.mark.slow
def test_memory_stays_flat_as_the_vocabulary_grows(monkeypatch):
  monkeypatch.undo()
  sizes = {}
  for loss, vocab in [('plain', 50304), ('fused', 50304), ('fused', 201216)]:
    wide = {'model.vocab_size': vocab, 'data.seq_len': 1024, 'model.d_model': 16}
    program = build(loss, wide)
    batch = {'tokens': jax.ShapeDtypeStruct((8, 1025), jnp.int32)}
    compiled = program.step.lower(program.abstract_state, batch).compile()
    sizes[loss, vocab] = compiled.memory_analysis().temp_size_in_bytes
  logits = 4 * 8 * 1024 * 50304
  assert sizes['plain', 50304] > 2 * logits  # they and their gradient
  assert sizes['fused', 50304] < logits
  # Four times the ids: larger tables and their gradients, chunks of the same bytes.
  tables = 6 * 4 * 16 * (201216 - 50304)
  grown = sizes['fused', 201216] - sizes['fused', 50304]
  assert grown < tables + fused_loss.LOGITS_BYTES // 2
