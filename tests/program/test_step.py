"""The train step: microbatches, packing and sharding change nothing of it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import objectives, optimizers
from gpt_jax.data import packing
from gpt_jax.data.token_cache import TokenStore
from gpt_jax.hlo import costs
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import PRESETS
from gpt_jax.program import step, throughput
from gpt_jax.program.build import build_program
from tests import tiny_runs

VOCAB = objectives.Vocab(size=257, eos_id=256)
SGD = tiny_runs.SGD
MESHES = {
  'replicated': {},
  'fsdp': {'parallel.mesh.data': 2, 'parallel.mesh.fsdp': 4},
  'fsdp_tensor': {'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 2},
  'sequence': {'parallel.mesh.fsdp': 2, 'parallel.mesh.sequence': 2},
}
"""A mesh of 8 devices on which each preset shards something."""


PROGRAMS = {}


def build(overrides=None, devices=1):
  """Returns the Program of SGD with `overrides`; equal ones are built once."""
  key = repr((sorted((overrides or {}).items()), devices))
  if key not in PROGRAMS:
    config = tiny_runs.tiny_config(SGD | (overrides or {}))
    mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
    PROGRAMS[key] = build_program(config, vocab=VOCAB, mesh=mesh)
  return PROGRAMS[key]


def padded_batch(rows=8, width=17):
  """Returns rows of two documents and padding: each row has other weights."""
  rng = np.random.default_rng(0)
  first = rng.integers(2, 9, (rows, 1))
  second = first + rng.integers(2, 8, (rows, 1))
  column = np.arange(width)[None]
  segments = 1 + (column >= first) - 2 * (column >= second)
  positions = np.where(column < first, column, column - first)
  return {
    'tokens': rng.integers(0, 256, (rows, width)).astype(np.int32),
    'segments': segments.astype(np.int32),
    'positions': np.where(segments > 0, positions, 0).astype(np.int32),
  }


def plain_batch(rows=8, width=17):
  tokens = np.random.default_rng(1).integers(0, 257, (rows, width))
  return {'tokens': tokens.astype(np.int32)}


def one_step(program, batch):
  """Returns (all of the new state, metrics) as numpy arrays by name."""
  state, metrics = program.step(program.init(0), batch)
  return tiny_runs.named(state), tiny_runs.named(metrics)


@pytest.mark.parametrize(
  'objective, batch',
  [
    pytest.param('causal_lm', plain_batch(), id='causal', marks=pytest.mark.slow),
    pytest.param('causal_lm', padded_batch(), id='causal packed'),
    pytest.param('masked_lm', plain_batch(), id='masked', marks=pytest.mark.slow),
    pytest.param('prefix_lm', padded_batch(), id='prefix', marks=pytest.mark.slow),
  ],
)
def test_microbatches_make_the_step_of_one_big_batch(objective, batch):
  big, its_metrics = one_step(build({'objective.name': objective}), batch)
  program = build({'objective.name': objective, 'train.grad_accum': 4})
  parts, metrics = one_step(program, batch)
  tiny_runs.assert_same(parts, big, atol=1e-6)
  tiny_runs.assert_same(metrics, its_metrics, rtol=1e-5, atol=1e-6)


def test_gradients_of_half_precision_add_up_in_float32():
  # In bfloat16 1 + 1/512 is 1, however often it is added.
  parts_B = jnp.array([1.0] + 7 * [1 / 512])

  def grad_fn(params, part_B, rng):
    return (0.0, {'targets': jnp.sum(part_B)}), part_B.astype('bfloat16')

  sums, grad = step.accumulate(
    grad_fn, jnp.ones(1, 'bfloat16'), parts_B, jax.random.key(0), 8, lambda x, *_: x
  )
  assert sums['targets'] == 1 + 7 / 512
  assert grad.dtype == jnp.bfloat16
  assert grad[0] == 1 + 2 / 128  # the sum, rounded once


def test_packed_documents_make_the_step_of_padded_ones():
  rng = np.random.default_rng(2)
  lengths = rng.integers(2, 18, 20)
  tokens = rng.integers(0, 256, lengths.sum()).astype(np.uint16)
  store = TokenStore(tokens, np.concatenate([[0], np.cumsum(lengths)]))
  packings = packing.Pad(store, 16), packing.FirstFit(store, 16)
  assert len(packings[1]) < len(packings[0]) == 20
  results = []
  for one in packings:
    samples = [one.sample(i) for i in range(len(one))]
    batch = {name: np.stack([s[name] for s in samples]) for name in samples[0]}
    results.append(one_step(build({'model.position': 'learned'}), batch))
  (padded, its_metrics), (packed, metrics) = results
  assert metrics["['targets']"] == (lengths - 1).sum()
  tiny_runs.assert_same(packed, padded, atol=1e-6)
  tiny_runs.assert_same(metrics, its_metrics, rtol=1e-5)


ONLY_THE_NORM = ({'match': '^(?!final_norm)', 'freeze': True},)


EVERYTHING_ON = {
  'optimizer.name': 'adamw',
  'optimizer.weight_decay': 0.1,
  'optimizer.decay_mask': 'all',
  'optimizer.ema_decay': 0.9,
  'optimizer.clip_norm': 1.0,
  'optimizer.groups': ({'match': 'embed|attention', 'freeze': True},),
  'guard.spikes': 'skip',
  'guard.spike_window': 8,
  'train.grad_accum': 2,
  'parallel.mesh.fsdp': 2,
}


@pytest.mark.slow
def test_frozen_parameters_and_averages_keep_every_bit():
  program = build(EVERYTHING_ON, devices=4)
  state = program.init(0)
  # -0.0 + 0.0 is 0.0, and an average of equal numbers need not be equal to them.
  embedding = state.params['embed']['embedding'].at[0].set(-0.0)
  state.params['embed']['embedding'] = embedding
  state = state.replace(ema=optimizers.ema_init(state.params))
  before = bits(state)
  for _ in range(3):
    state, metrics = program.step(state, plain_batch())
  assert metrics['skipped'] == 0
  after = bits(state)
  for name in [name for name in before if 'params' in name or 'ema' in name]:
    is_frozen = 'embed' in name or 'attention' in name
    assert np.array_equal(after[name], before[name]) == is_frozen, name
  moments = [name for name in after if re.search(r'\.(mu|nu)\[', name)]
  assert len(moments) == 2 * len([n for n in after if re.search('ema.*(mlp|final)', n)])


def bits(state):
  """Returns the float32 arrays of `state` by name, as integers."""
  named = tiny_runs.named(state)
  return {k: v.view(np.uint32) for k, v in named.items() if v.dtype == np.float32}


@pytest.mark.slow
def test_zeros_that_are_kept_stay_and_others_move():
  program = build({'optimizer.post_update': 'keep_zeros', 'optimizer.ema_decay': 0.9})
  state = program.init(0)
  up = state.params['layers']['block_0']['mlp']['up']
  up['kernel'] = up['kernel'].at[..., ::3].set(0)
  state = state.replace(ema=optimizers.ema_init(state.params))
  for _ in range(2):
    state, _ = program.step(state, plain_batch())
  for params in (state.params, state.ema):
    kernel = np.asarray(params['layers']['block_0']['mlp']['up']['kernel'])
    assert (kernel[..., ::3] == 0).all()
    assert (kernel[..., 1::3] != 0).all()


def test_frozen_parameters_keep_every_bit_and_have_no_gradient():
  groups = ({'match': 'embed|attention', 'freeze': True},)
  program = build({'optimizer.groups': groups})
  before = tiny_runs.named(program.init(0).params)
  state, metrics = program.step_with_norms(program.init(0), plain_batch())
  after, norms = tiny_runs.named(state.params), metrics['norms']
  expected = tiny_runs.named(build().step(build().init(0), plain_batch())[0].params)
  is_frozen = {name: 'embed' in name or 'attention' in name for name in after}
  assert 0 < sum(is_frozen.values()) < len(after)
  for name, frozen in is_frozen.items():
    if frozen:
      np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    else:
      np.testing.assert_allclose(after[name], expected[name], atol=1e-6, err_msg=name)
  measured = [name for name in norms if name.startswith('grad/')]
  assert len(measured) == len(after) - sum(is_frozen.values())
  squares = sum(jnp.sum(norms[name] ** 2) for name in measured)
  np.testing.assert_allclose(jnp.sqrt(squares), metrics['grad_norm'], rtol=1e-5)


@pytest.mark.slow
def test_frozen_microbatches_make_the_step_of_one_big_batch():
  groups = {'optimizer.groups': ONLY_THE_NORM}
  big, its_metrics = one_step(build(groups), padded_batch())
  parts, metrics = one_step(build(groups | {'train.grad_accum': 4}), padded_batch())
  tiny_runs.assert_same(parts, big, atol=1e-6)
  tiny_runs.assert_same(metrics, its_metrics, rtol=1e-5, atol=1e-6)


def matmul_flops(executable):
  return costs.measure(executable.as_text()).matmul_flops


@pytest.mark.slow
def test_gradients_of_frozen_parameters_are_not_computed():
  shape = {'model.num_layers': 4, 'model.d_model': 128, 'data.seq_len': 64}
  batch = {'tokens': jax.ShapeDtypeStruct((8, 65), np.int32)}

  def compiled(overrides):
    program = build(shape | overrides)
    return program, program.step.lower(program.abstract_state, batch).compile()

  forward = 8 * 64 * (4 * (24 * 128**2 + 4 * 64 * 128) + 2 * 257 * 128)
  _, whole = compiled({})
  assert matmul_flops(whole) == pytest.approx(3 * forward)  # 2.718e9
  # Between the loss and the only trainable parameter lies the head alone.
  head = 8 * 64 * 2 * 257 * 128
  frozen = {'optimizer.groups': ONLY_THE_NORM}
  program, part = compiled(frozen)
  assert matmul_flops(part) == pytest.approx(forward + head)
  said = throughput.describe_frozen(program, part, 8)
  assert 'trains 128 of 820,480 parameters' in said
  assert 'matmuls of a step 0.940 GFLOP, with all of them trained 2.718' in said


@pytest.fixture(scope='module')
def unsharded():
  """Returns the step of ADAM's program on one device."""
  return one_step(build(ADAM), padded_batch())


# eps keeps Adam from magnifying gradients that are rounding only.
ADAM = {
  'optimizer.name': 'adamw',
  'optimizer.learning_rate': 0.01,
  'optimizer.eps': 1e-3,
  'optimizer.ema_decay': 0.5,
  'optimizer.clip_norm': 1.0,
  'model.norm': 'layernorm',
  'model.bias': True,
}


def test_every_preset_has_a_mesh_here():
  assert MESHES.keys() == PRESETS.keys()


@pytest.mark.parametrize('rules', sorted(PRESETS))
def test_presets_shard_the_parameters(rules):
  program = build(ADAM | MESHES[rules] | {'parallel.preset': rules}, devices=8)
  leaves = jax.tree.leaves(program.abstract_state.params)
  sizes = [np.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in leaves]
  share = sum(sizes) / sum(np.prod(leaf.shape) for leaf in leaves)
  expected = {'replicated': 1, 'fsdp': 1 / 4, 'fsdp_tensor': 1 / 4, 'sequence': 1 / 2}
  assert share == pytest.approx(expected[rules], rel=0.1)  # norms are replicated


@pytest.mark.parametrize('rules', tiny_runs.mostly_slow(PRESETS, 'fsdp_tensor'))
def test_sharded_steps_are_the_unsharded_step(rules, unsharded):
  program = build(ADAM | MESHES[rules] | {'parallel.preset': rules}, devices=8)
  batch = jax.device_put(padded_batch(), program.batch_sharding)
  state, metrics = program.step(program.init(0), batch)
  for leaf in jax.tree.leaves((state, metrics)):
    assert isinstance(leaf.sharding, jax.sharding.NamedSharding)
    assert leaf.sharding.mesh.size == 8
  # The embedding may be padded to divide over its axis; the real rows are equal.
  sharded = tiny_runs.named(state)
  for name, values in sharded.items():
    if 'embed' in name:
      sharded[name] = values[:257]
  tiny_runs.assert_same(sharded, unsharded[0], atol=1e-5)
  tiny_runs.assert_same(tiny_runs.named(metrics), unsharded[1], rtol=1e-5, atol=1e-5)


def test_padding_rows_get_no_probability_and_no_gradient():
  few, many = build(), build({'model.pad_vocab_to_multiple_of': 64})
  expected, its_metrics = one_step(few, plain_batch())
  state = many.init(0)
  # The first rows of a padded embedding are those of a smaller one; the others may
  # look as likely as they want.
  embedding = state.params['embed']['embedding'].at[257:].set(9.0)
  assert embedding.shape == (320, 32)
  before = np.asarray(embedding)
  state.params['embed']['embedding'] = embedding
  state, metrics = many.step(state, plain_batch())
  after = np.asarray(state.params['embed']['embedding'])
  np.testing.assert_array_equal(after[257:], before[257:])
  np.testing.assert_allclose(
    after[:257], expected[".params['embed']['embedding']"], atol=1e-6
  )
  tiny_runs.assert_same(tiny_runs.named(metrics), its_metrics, rtol=1e-5)


# At no learning rate to speak of, so that steps differ by their dropout alone.
DROPOUT = {'model.dropout': 0.3, 'optimizer.learning_rate': 1e-30}


def test_a_step_depends_on_nothing_but_its_arguments():
  program = build(DROPOUT)
  first, _ = one_step(program, plain_batch())
  second, _ = one_step(program, plain_batch())
  tiny_runs.assert_same(first, second)


def test_dropout_differs_by_step_and_is_off_in_evaluation():
  program = build(DROPOUT)
  state, first = program.step(program.init(0), plain_batch())
  state, second = program.step(state, plain_batch())
  assert abs(first['loss'] - second['loss']) > 1e-4
  sums = program.evaluate(state.params, plain_batch(), 0)
  _, expected = one_step(build(), plain_batch())
  np.testing.assert_allclose(sums['loss'] / 128, expected["['loss']"], rtol=1e-5)


def test_measuring_norms_changes_nothing_else():
  program = build()
  expected, _ = one_step(program, plain_batch())
  state, metrics = program.step_with_norms(program.init(0), plain_batch())
  tiny_runs.assert_same(tiny_runs.named(state), expected, atol=1e-7)
  norms = metrics['norms']
  squares = sum(jnp.sum(n**2) for name, n in norms.items() if name.startswith('grad/'))
  np.testing.assert_allclose(jnp.sqrt(squares), metrics['grad_norm'], rtol=1e-5)


def test_the_state_is_donated():
  program = build()
  state = program.init(0)
  program.step(state, plain_batch())
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_metrics_separate_likelihood_from_what_is_minimised():
  program = build({'objective.z_loss': 0.1, 'objective.label_smoothing': 0.2})
  _, metrics = program.step(program.init(0), plain_batch())
  sums = program.evaluate(program.init(0).params, plain_batch(), 0)
  mean = float(sums['loss'] / sums['targets'])
  assert float(metrics['loss']) == pytest.approx(mean, rel=1e-5)
  assert metrics['objective'] > metrics['loss'] + 1
  assert metrics['targets'] == 8 * 16
  assert metrics['learning_rate'] == 1.0


def test_evaluation_counts_the_bytes_of_targets():
  config = tiny_runs.tiny_config()
  lengths = np.arange(257)
  mesh = make_mesh({}, jax.devices()[:1])
  program = build_program(config, vocab=VOCAB, mesh=mesh, byte_lengths=lengths)
  batch = padded_batch()
  sums = program.evaluate(program.init(0).params, batch, 0)
  same = batch['segments'][:, :-1] == batch['segments'][:, 1:]
  counted = same & (batch['segments'][:, 1:] > 0)
  assert sums['targets'] == counted.sum()
  assert sums['bytes'] == batch['tokens'][:, 1:][counted].sum()
