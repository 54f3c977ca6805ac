"""Updates of layer kernels are orthogonal, each layer and expert on its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from configs import base
from gpt_jax import optimizers
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.model import gpt
from gpt_jax.optimizers import muon

CFG = dataclasses.replace(
  load.resolve(base.get_config()).optimizer,
  name='muon', weight_decay=0.0, clip_norm=0.0, learning_rate=0.5,
  muon_learning_rate=0.25,
)  # fmt: skip

KERNELS = {
  # name: (shape, shape of the matrix as (batch, fan-in, fan-out))
  'layers_0/block_0/mlp/up/kernel': ((16, 24), (1, 16, 24)),
  'layers/block_0/mlp/down/kernel': ((3, 24, 16), (3, 24, 16)),
  'layers/block_0/attention/query/kernel': ((3, 16, 4, 5), (3, 16, 20)),
  'layers_1/block_0/attention/key/kernel': ((16, 2, 5), (1, 16, 10)),
  'layers/block_0/attention/out/kernel': ((3, 4, 5, 16), (3, 20, 16)),
  'layers/block_0/experts/up/kernel': ((3, 2, 16, 24), (6, 16, 24)),
}
OTHERS = {
  'embed/embedding': (11, 16),
  'head/kernel': (16, 11),
  'layers/block_0/mlp/up/bias': (3, 24),
  'layers/block_0/attention/query/bias': (3, 4, 5),
  'layers/block_0/mlp_norm/scale': (3, 16),
}


def nested(flat):
  result = {}
  for name, value in flat.items():
    *path, last = name.split('/')
    node = result
    for part in path:
      node = node.setdefault(part, {})
    node[last] = value
  return result


def gradients(shapes):
  rng = np.random.default_rng(0)
  return {name: rng.normal(size=shape).astype('f4') for name, shape in shapes.items()}


def first_update(flat):
  tree = nested(flat)
  transform = optimizers.make_optimizer(CFG, lambda step: 1.0, tree)
  update = jax.jit(lambda tree: transform.update(tree, transform.init(tree), tree)[0])
  return dict(pytree.named_leaves(update(tree)))


@pytest.mark.parametrize('name', sorted(KERNELS))
def test_updates_of_layer_kernels_have_singular_values_near_one(name):
  shape, as_matrix = KERNELS[name]
  update = first_update(gradients({name: shape}))[name] / -CFG.muon_learning_rate
  _, fan_in, fan_out = as_matrix
  update = update.reshape(as_matrix) / max(1, fan_out / fan_in) ** 0.5
  values = jnp.linalg.svd(update, compute_uv=False)
  # The band that the method's author states for its five iterations.
  assert 0.5 < float(values.min()) and float(values.max()) < 1.5


def test_each_matrix_of_a_stack_is_orthogonalized_on_its_own():
  stacked = 'layers/block_0/attention/out/kernel'
  alone = 'layers_0/block_0/attention/out/kernel'
  both = gradients({stacked: (3, 4, 5, 16)})
  got = first_update(both)[stacked]
  for i in range(3):
    want = first_update({alone: both[stacked][i]})[alone]
    np.testing.assert_allclose(got[i], want, atol=1e-4)


def test_other_parameters_get_adamw_with_its_own_rate():
  flat = gradients(OTHERS | {'layers/block_0/mlp/up/kernel': (3, 16, 24)})
  updates = first_update(flat)
  for name in OTHERS:
    assert not muon.is_layer_kernel(name)
    # Adam's first step is the sign of the gradient.
    want = -CFG.learning_rate * np.sign(flat[name])
    np.testing.assert_allclose(updates[name], want, rtol=1e-4)


@pytest.mark.parametrize('scan_layers', [True, False])
def test_rows_and_columns_are_those_that_the_layer_contracts(scan_layers):
  config = load.resolve(
    base.get_config(),
    {
      'model.scan_layers': scan_layers,
      'model.num_kv_heads': 2,
      'model.activation': 'swiglu',
      'model.vocab_size': 300,
      'model.tie_embeddings': False,
    },
  )
  cfg = config.model
  model = gpt.GPT(cfg)
  tokens = jnp.zeros((1, 4), jnp.int32)
  boxed = jax.eval_shape(lambda: model.init(jax.random.key(0), tokens)['params'])
  D, H, G, K, F = (
    cfg.d_model,
    cfg.num_heads,
    cfg.num_kv_heads,
    cfg.head_dim,
    cfg.d_ff,
  )
  expected = {
    'query': (D, H * K), 'key': (D, G * K), 'value': (D, G * K), 'out': (H * K, D),
    'up': (D, F), 'gate': (D, F), 'down': (F, D),
  }  # fmt: skip
  seen = set()
  for name, leaf in pytree.named_leaves(meta.unbox(boxed)):
    if not muon.is_layer_kernel(name):
      assert not name.endswith('kernel') or name == 'head/kernel', name
      continue
    rows, columns = muon.dimension_numbers(name)
    sizes = [int(np.prod([leaf.shape[a] for a in axes])) for axes in (rows, columns)]
    owner = name.split('/')[-2]
    assert tuple(sizes) == expected[owner], name
    assert np.prod(sizes) * (cfg.num_layers if scan_layers else 1) == leaf.size
    seen.add(owner)
  assert seen == set(expected)
