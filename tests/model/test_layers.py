"""Layers with parameters: linear maps, embeddings, norms, the MLP, activations."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.model import initializers
from gpt_jax.model.layers import MLP, Embed, Linear, Norm
from gpt_jax.model.output_layer import Head
from tests import numpy_gpt
from tests import small_models as small

SIZES = dict(d_model=5, d_ff=7, num_heads=4, num_kv_heads=2, head_dim=3)

LINEARS = {  # equation -> shape and axes of the kernel, axes and shape of the bias
  'BTD,DHK->BHTK': (
    (5, 4, 3), ('embed', 'heads', 'head_dim'), dict(heads=4, head_dim=3),
  ),
  'BTD,DGK->BGTK': (
    (5, 2, 3), ('embed', 'kv_heads', 'head_dim'), dict(kv_heads=2, head_dim=3),
  ),
  'BHTK,HKD->BTD': (
    (4, 3, 5), ('heads', 'head_dim', 'embed'), dict(embed_vector=5),
  ),
  'BTD,DF->BTF': ((5, 7), ('embed', 'mlp'), dict(mlp=7)),
  'BTF,FD->BTD': ((7, 5), ('mlp', 'embed'), dict(embed_vector=5)),
}  # fmt: skip


def linear(equation, initializer=initializers.hidden, **overrides):
  cfg = small.model_config(**SIZES | overrides)
  return Linear(cfg, None, equation, initializer, own_bias=None)


@pytest.mark.parametrize('equation', LINEARS)
def test_a_linear_map_is_its_einsum_plus_a_bias(equation):
  shape, axes, bias_axes = LINEARS[equation]
  bias_shape = tuple(bias_axes.values())
  layer = linear(equation)
  rng = np.random.default_rng(0)
  letters = equation.split(',')[0]
  x = rng.normal(size=[dict(B=2, T=6, D=5, F=7, H=4, K=3)[x] for x in letters])
  kernel, bias = rng.normal(size=shape), rng.normal(size=bias_shape)
  boxed = jax.eval_shape(layer.init, jax.random.key(0), x)['params']
  assert (boxed['kernel'].names, boxed['bias'].names) == (axes, tuple(bias_axes))
  assert nn.unbox(boxed)['bias'].shape == bias_shape
  params = {'kernel': kernel.astype(np.float32), 'bias': bias.astype(np.float32)}
  y = layer.apply({'params': params}, x.astype(np.float32))
  expected = np.einsum(equation, x, kernel)
  # In BHTK the bias [H, K] stands before time.
  expected += bias[:, None] if equation.endswith('TK') else bias
  np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
  'equation, fan_in', [('BTD,DHK->BHTK', 5), ('BHTK,HKD->BTD', 12)]
)
def test_an_initializer_is_given_the_features_that_are_summed(equation, fan_in):
  given = []

  def spy(cfg, fan_in):
    given.append(fan_in)
    return initializers.hidden(cfg, fan_in)

  layer = linear(equation, spy)
  x = jnp.zeros((2, 6, 5) if fan_in == 5 else (2, 4, 6, 3))
  jax.eval_shape(layer.init, jax.random.key(0), x)
  assert set(given) == {fan_in}


def test_parameters_keep_their_dtype_and_activations_theirs():
  layer = linear('BTD,DF->BTF', dtype='bfloat16', param_dtype='float32')
  x = jnp.ones((1, 2, 5), jnp.bfloat16)
  y, variables = layer.init_with_output(jax.random.key(0), x)
  assert y.dtype == jnp.bfloat16
  dtypes = {leaf.dtype.name for leaf in jax.tree.leaves(nn.unbox(variables))}
  assert dtypes == {'float32'}


def test_an_embedding_reads_rows_and_is_the_tied_head():
  cfg = small.model_config(**SIZES, dtype='bfloat16', param_dtype='float32')
  embed = Embed(cfg, 4, 'vocab')
  embedding_VD = np.arange(20, dtype=np.float32).reshape(4, 5)
  params = {'params': {'embedding': embedding_VD}}
  rows = embed.apply(params, jnp.array([[3, 0]]))
  assert rows.dtype == jnp.bfloat16
  np.testing.assert_array_equal(rows[0].astype(np.float32), embedding_VD[[3, 0]])
  np.testing.assert_array_equal(embed.bind(params).embedding, embedding_VD)


def test_the_untied_head_is_stored_transposed():
  cfg = small.model_config(tie_embeddings=False)
  kernel_DV = np.arange(16 * 16, dtype=np.float32).reshape(16, 16)
  head_VD = Head(cfg).apply({'params': {'kernel': kernel_DV}})
  np.testing.assert_array_equal(head_VD, kernel_DV.T)


def norm(kind, use_bias=False, eps=1e-5):
  return Norm(small.model_config(norm_bias=use_bias, norm_eps=eps), kind)


@pytest.mark.parametrize('use_bias', [True, False])
@pytest.mark.parametrize('kind', ['layernorm', 'rmsnorm'])
def test_norms_equal_their_formula(kind, use_bias):
  layer = norm(kind, use_bias, 1e-3)
  rng = np.random.default_rng(0)
  x_BTD = rng.normal(3, 2, (2, 3, 8))
  shapes = nn.unbox(jax.eval_shape(layer.init, jax.random.key(0), x_BTD)['params'])
  assert ('bias' in shapes) == (kind == 'layernorm' and use_bias)
  params = {name: rng.normal(size=8) for name in shapes}
  y_BTD = layer.apply({'params': _as_float32(params)}, x_BTD.astype(np.float32))
  expected = numpy_gpt.norm(params, x_BTD, layer.cfg, kind)
  np.testing.assert_allclose(y_BTD, expected, atol=1e-5)


def test_statistics_of_norms_are_float32():
  """A mean of 300 with deviations of 1: bfloat16 would see steps of 2."""
  x = jnp.asarray([298.0, 300.0, 302.0, 300.0], jnp.bfloat16)
  y = norm('layernorm').apply({'params': {'scale': jnp.ones(4)}}, x)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_allclose(y.astype(np.float32), [-1.414, 0, 1.414, 0], atol=5e-3)


def test_float16_norms_do_not_overflow():
  x = jnp.full(4, 60_000, jnp.float16)  # its square is past float16's range
  y = norm('rmsnorm').apply({'params': {'scale': jnp.ones(4)}}, x)
  np.testing.assert_allclose(y, np.ones(4), rtol=1e-3)


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


def test_the_gradient_of_a_bias_is_summed_in_float32():
  """In bfloat16 a sum of thousands of numbers stops growing at a few hundred."""
  x_BTD = jnp.ones((2, 2048, 1), jnp.bfloat16)
  layer = linear(
    'BTD,DF->BTF', d_model=1, d_ff=1, num_heads=1, num_kv_heads=1, dtype='bfloat16'
  )
  params = layer.init(jax.random.key(0), x_BTD)
  grads = jax.grad(lambda params: layer.apply(params, x_BTD).sum())(params)
  assert nn.meta.unbox(grads)['params']['bias'] == 4096
