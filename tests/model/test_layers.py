"""Layers with parameters: linear maps, tables, norms, the MLP and its activations."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.config.schema import ModelConfig
from gpt_jax.model.layers import ACTIVATIONS, MLP, Embed, Head, Linear, Norm
from gpt_jax.parallel.sharded_matmul import MatmulSpec
from tests import numpy_gpt
from tests import small_models as small

SHAPES = {
  'BTD,DHK->BHTK': (
    (5, 2, 3),
    ('embed', 'heads', 'head_dim'),
    {'heads': 2, 'head_dim': 3},
  ),
  'BHTK,HKD->BTD': ((2, 3, 5), ('heads', 'head_dim', 'embed'), {'embed_vector': 5}),
  'BTD,DF->BTF': ((5, 7), ('embed', 'mlp'), {'mlp': 7}),
}


def product(equation, axes):
  """Returns the MatmulSpec of an equation, the axes of whose activations do not matter."""
  x, out = equation.split(',')[0], equation.split('->')[1]
  return MatmulSpec(equation, (None,) * len(x), axes, (None,) * len(out))


@pytest.mark.parametrize('equation', SHAPES)
def test_a_linear_map_is_its_einsum_plus_a_bias_over_its_outputs(equation):
  shape, axes, size = SHAPES[equation]
  bias_shape = tuple(size.values())
  layer = Linear(
    product(equation, axes), shape, nn.initializers.normal(), True, *['float32'] * 2
  )
  rng = np.random.default_rng(0)
  x = rng.normal(size=(4, 2, 6, 3) if equation.startswith('BH') else (4, 6, 5))
  kernel, bias = rng.normal(size=shape), rng.normal(size=bias_shape)
  boxed = jax.eval_shape(layer.init, jax.random.key(0), x)['params']
  assert boxed['bias'].names == tuple(size)
  assert nn.unbox(boxed)['bias'].shape == bias_shape
  params = {'kernel': kernel.astype(np.float32), 'bias': bias.astype(np.float32)}
  y = layer.apply({'params': params}, x.astype(np.float32))
  expected = np.einsum(equation, x, kernel)
  # In BHTK the bias [H, K] stands before time.
  expected += bias[:, None] if equation.endswith('BHTK') else bias
  np.testing.assert_allclose(y, expected, atol=1e-5)


def test_parameters_keep_their_type_and_activations_theirs():
  layer = Linear(
    product('BTD,DF->BTF', ('embed', 'mlp')), (4, 3), nn.initializers.normal(), True,
    dtype='bfloat16', param_dtype='float32',
  )  # fmt: skip
  x = jnp.ones((1, 2, 4), jnp.bfloat16)
  y, variables = layer.init_with_output(jax.random.key(0), x)
  assert y.dtype == jnp.bfloat16
  dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(nn.unbox(variables))}
  assert dtypes == {'float32'}


def test_a_table_reads_rows_and_its_head_is_the_same_table():
  table = Embed(
    5, 3, ('vocab', 'embed'), nn.initializers.normal(), dtype='bfloat16',
    param_dtype='float32',
  )  # fmt: skip
  table_VD = np.arange(15, dtype=np.float32).reshape(5, 3)
  params = {'params': {'embedding': table_VD}}
  rows = table.apply(params, jnp.array([[4, 0]]))
  assert rows.dtype == jnp.bfloat16
  np.testing.assert_array_equal(rows[0].astype(np.float32), table_VD[[4, 0]])
  np.testing.assert_array_equal(table.bind(params).embedding, table_VD)


def test_the_untied_head_is_a_table_stored_on_its_side():
  cfg = small.model_config(tie_embeddings=False)
  kernel_DV = np.arange(16 * 16, dtype=np.float32).reshape(16, 16)
  table_VD = Head(cfg).apply({'params': {'kernel': kernel_DV}})
  np.testing.assert_array_equal(table_VD, kernel_DV.T)


@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize('kind', ['layernorm', 'rmsnorm'])
def test_norms_equal_their_formula(kind, use_bias):
  norm = Norm(kind, use_bias, 1e-3, 'float32')
  rng = np.random.default_rng(0)
  x_BTD = rng.normal(3, 2, (2, 3, 8))
  shapes = nn.unbox(jax.eval_shape(norm.init, jax.random.key(0), x_BTD)['params'])
  assert ('bias' in shapes) == (kind == 'layernorm' and use_bias)
  params = {name: rng.normal(size=8) for name in shapes}
  y_BTD = norm.apply({'params': _as_float32(params)}, x_BTD.astype(np.float32))
  expected = numpy_gpt.norm(params, x_BTD, kind, 1e-3)
  np.testing.assert_allclose(y_BTD, expected, atol=1e-5)


def test_statistics_of_norms_are_float32():
  """A mean of 300 with deviations of 1: bfloat16 would see steps of 2."""
  norm = Norm('layernorm', False, 1e-5, 'float32')
  x = jnp.asarray([298.0, 300.0, 302.0, 300.0], jnp.bfloat16)
  y = norm.apply({'params': {'scale': jnp.ones(4)}}, x)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_allclose(y.astype(np.float32), [-1.414, 0, 1.414, 0], atol=5e-3)


def test_a_huge_activation_does_not_overflow_in_a_half_precision_norm():
  norm = Norm('rmsnorm', False, 1e-5, 'float32')
  x = jnp.full(4, 60_000, jnp.float16)  # its square is past float16's range
  y = norm.apply({'params': {'scale': jnp.ones(4)}}, x)
  np.testing.assert_allclose(y, np.ones(4), rtol=1e-3)


@pytest.mark.parametrize('name', sorted(ACTIVATIONS))
def test_activations_equal_their_formula(name):
  x = np.linspace(-4, 4, 33)
  np.testing.assert_allclose(
    ACTIVATIONS[name](jnp.asarray(x, jnp.float32)), numpy_gpt.ACTIVATIONS[name](x),
    atol=1e-5,
  )  # fmt: skip


def test_the_config_offers_every_activation():
  fields = ModelConfig.__dataclass_fields__
  assert set(fields['activation'].metadata['choices']) == set(ACTIVATIONS)


def test_a_closed_gate_silences_a_gated_mlp():
  cfg = small.model_config(activation='reglu', bias=False)
  mlp = MLP(cfg)
  x_BTD = jnp.ones((1, 2, cfg.d_model))
  shapes = nn.unbox(jax.eval_shape(mlp.init, jax.random.key(0), x_BTD)['params'])
  assert set(shapes) == {'gate', 'up', 'down'}
  params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
  assert (mlp.apply({'params': params}, x_BTD) > 0).all()
  params['gate'] = {'kernel': -params['gate']['kernel']}
  np.testing.assert_array_equal(mlp.apply({'params': params}, x_BTD), 0 * x_BTD)


def _as_float32(tree):
  return jax.tree.map(lambda leaf: leaf.astype(np.float32), tree)


def test_gradient_of_a_bias_is_summed_in_float32():
  """In bfloat16 a sum of thousands of numbers stops growing at a few hundred."""
  x_BTD = jnp.ones((2, 2048, 1), jnp.bfloat16)
  product = MatmulSpec('BTD,DF->BTF', (None,) * 3, ('embed', 'mlp'), (None,) * 3)
  linear = Linear(product, (1, 1), nn.initializers.zeros, True, 'bfloat16', 'float32')
  params = linear.init(jax.random.key(0), x_BTD)
  grads = jax.grad(lambda params: linear.apply(params, x_BTD).sum())(params)
  assert nn.meta.unbox(grads)['params']['bias'] == 4096
