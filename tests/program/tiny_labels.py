"""Programs that label texts or tokens, small enough to compute by hand, and a batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.build import build_program
from tests import tiny_runs

VOCAB = objectives.Vocab(size=50, eos_id=0)
SETTINGS = tiny_runs.SGD | {
  'objective.name': 'class_labels',
  'objective.options.num_labels': 3,
  'objective.options.attention': 'bidirectional',
  'objective.options.pooling': 'mean',
  'data.seq_len': 8,
  'data.packing': 'pad',
  'model.num_layers': 1,
}
UNROLLED = {'model.scan_layers': False}
MESH = {'parallel.mesh.fsdp': 2, 'parallel.mesh.tensor': 2}
PROGRAMS = {}


def build(overrides=None, devices=1):
  """Returns the Program of SETTINGS with `overrides`; equal ones are built once."""
  key = repr((sorted((overrides or {}).items()), devices))
  if key not in PROGRAMS:
    settings = SETTINGS | UNROLLED | (overrides or {})
    if settings['objective.name'] != 'class_labels':
      settings = {k: v for k, v in settings.items() if '.options.' not in k}
    PROGRAMS[key] = build_config(tiny_runs.tiny_config(settings), devices)
  return PROGRAMS[key]


def build_config(config, devices=1):
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:devices])
  return build_program(config, vocab=VOCAB, mesh=mesh)


def batch(rows=8, width=9):
  """Returns rows of one text each, its label at its end, padded."""
  rng = np.random.default_rng(0)
  length_B1 = rng.integers(3, width + 1, (rows, 1))
  place_N = np.arange(width)[None]
  labels_BN = np.where(place_N == length_B1 - 1, rng.integers(0, 3, (rows, 1)), -1)
  is_text_BN = place_N < length_B1
  return {
    'tokens': np.where(is_text_BN, rng.integers(1, 50, (rows, width)), 0).astype('i4'),
    'labels': labels_BN.astype('i4'),
    'segments': is_text_BN.astype('i4'),
    'positions': np.where(is_text_BN, place_N, 0).astype('i4'),
  }


def example(program):
  return program.objective(batch(), jax.random.key(0))


def log_probs(program, params, perturbation_BTD=0.0):
  """Returns those of each row's label query [B, C], with changed token embeddings.

  The model is applied to other embeddings than its own: each token gets an id and a row
  of the embedding for itself.
  """
  one = example(program)
  B, T = one.inputs_BT.shape
  x_BTD = params['embed']['embedding'][one.inputs_BT] + perturbation_BTD
  own = dict(params, embed={'embedding': x_BTD.reshape(B * T, -1)})
  ids_BT = jnp.arange(B * T).reshape(B, T)
  cfg = dataclasses.replace(program.model.cfg, vocab_size=B * T)
  x_BTD, _, _ = program.model.clone(cfg=cfg).apply(
    {'params': own}, ids_BT, one.mask, one.positions_BT, method='hidden'
  )
  is_read_BT = one.mask.segments_BT > 0
  place_B = jnp.argmax(one.weights_BT, axis=1)
  is_read_BT &= jnp.arange(T)[None] <= place_B[:, None]
  pooled_BD = jnp.einsum('BT,BTD->BD', is_read_BT / is_read_BT.sum(1)[:, None], x_BTD)
  outputs_BC = program.model.apply(
    {'params': params}, pooled_BD, method='apply_task_head'
  )
  return jax.nn.log_softmax(outputs_BC)


def labels(program):
  one = example(program)
  return jnp.max(jnp.where(one.weights_BT > 0, one.targets_BT, 0), axis=1)


def mean_nll(program, params, perturbation_BTD=0.0):
  log_probs_BC = log_probs(program, params, perturbation_BTD)
  return -jnp.mean(log_probs_BC[jnp.arange(8), labels(program)])


def moved(program, steps=1):
  """Returns (the gradient, which is what SGD at rate 1 subtracts; metrics)."""
  state = program.init(0)
  before = jax.tree.map(np.asarray, state.params)
  rows = jax.device_put(batch(), program.batch_sharding)
  for _ in range(steps):
    state, metrics = program.step(state, rows)
  gradient = jax.tree.map(lambda old, new: old - np.asarray(new), before, state.params)
  return gradient, metrics


def assert_close(one, other, **tolerance):
  tolerance = tolerance or {'atol': 1e-6, 'rtol': 1e-5}
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), one, other)
