"""The model against a second implementation, and against what must hold for any."""

import dataclasses
import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import KERNELS, masks
from gpt_jax.core import pytree
from gpt_jax.core.axes import LOGICAL_AXES
from gpt_jax.model import stacking
from gpt_jax.model.remat import POLICIES
from tests import numpy_gpt
from tests import small_models as small

POSITIONS = ('learned', 'sinusoidal', 'rope', 'alibi', 'none')

VARIANTS = {
  'gpt2': {},
  'no bias at all': dict(bias=False, norm_bias=False, activation='gelu_exact'),
  'llama': dict(
    bias=False, norm='rmsnorm', position='rope', activation='swiglu',
    tie_embeddings=False, num_kv_heads=2,
  ),
  'bert': dict(norm_position='post', activation='gelu_exact'),
  'palm': dict(
    block='parallel', bias=False, num_kv_heads=1, position='rope', activation='geglu',
  ),
  'gemma': dict(
    norm_position='sandwich', norm='rmsnorm', scale_embeddings=True, logit_softcap=2.0,
    head_dim=6, position='rope', activation='reglu',
  ),
  'bloom': dict(position='alibi', activation='relu2'),
  'qk-norm': dict(qk_norm='layernorm', position='sinusoidal', activation='relu'),
  'qk-rmsnorm': dict(qk_norm='rmsnorm', position='none', activation='silu'),
  'gpt3': dict(layer_pattern=('global', 'local:3')),
  'attention only': dict(block='attention_only', position='rope', init='fan_in'),
  'mup': dict(init='mup', mup_base_width=8, tie_embeddings=False),
  'bert with its output layer': dict(
    norm_position='post', activation='gelu_exact', token_types=2, pooler=True,
    head='transform', head_bias=True,
  ),
  'neox': dict(
    block='parallel_norms', position='rope', rope_fraction=0.5, tie_embeddings=False,
    head_dim=8,
  ),
  'qwen2': dict(bias=False, qkv_bias=True, norm='rmsnorm', position='rope'),
  'half of the biases': dict(bias=True, out_bias=False, mlp_bias=False),
  'gemma3': dict(
    norm_position='sandwich', norm='rmsnorm', norm_zero_centered=True,
    qk_norm='rmsnorm', position='rope', rope_local_theta=100.0,
    layer_pattern=('local:3', 'global'), activation='geglu', scale_embeddings=True,
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', VARIANTS)
def test_logits_equal_a_second_implementation_in_float64(name):
  config = small.resolve(**_model(VARIANTS[name], scan_layers=False))
  config = dataclasses.replace(
    config,
    attention=dataclasses.replace(
      config.attention,
      softcap=3.0 if name == 'gemma' else 0.0,
      scale=0.3 if name == 'gemma' else None,
    ),
  )
  model = small.make_gpt(config)
  params = small.random_params(model)
  tokens_BT = small.random_tokens()
  logits_BTV = small.logits_of(model)(params, tokens_BT)
  for tokens_T, logits_TV in zip(tokens_BT, logits_BTV, strict=True):
    expected_TV = numpy_gpt.forward(
      params, config.model, tokens_T, attention=config.attention
    )
    # Logits are of order 10; float32 keeps 7 digits.
    np.testing.assert_allclose(logits_TV, expected_TV, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize('position', POSITIONS)
@pytest.mark.parametrize('kernel', sorted(KERNELS))
def test_later_tokens_do_not_change_earlier_logits(kernel, position):
  overrides = dict(position=position, tie_embeddings=False, scan_layers=False)
  seen_TT = _seen(small.resolve(**_model(overrides)), kernel)
  assert not np.triu(seen_TT, 1).any()
  assert np.tril(seen_TT).sum() == np.tril(np.ones_like(seen_TT)).sum()


def test_a_bidirectional_mask_sees_the_future():
  config = small.resolve(**_model(dict(tie_embeddings=False)))
  assert _seen(config, 'dense', masks.bidirectional()).all()


def test_a_prefix_is_visible_to_all_and_the_rest_is_causal():
  config = small.resolve(**_model(dict(tie_embeddings=False)))
  seen_TT = _seen(config, 'dense', masks.prefix(jnp.array([3])))
  expected_TT = np.tril(np.ones_like(seen_TT))
  expected_TT[:, :3] = True
  np.testing.assert_array_equal(seen_TT, expected_TT)


def test_two_local_layers_see_twice_as_far_as_one():
  overrides = dict(layer_pattern=('local:3',), tie_embeddings=False)
  index = np.arange(8)
  distance_TT = index[:, None] - index[None]
  seen_TT = _seen(small.resolve(**_model(overrides, num_layers=2)), 'dense')
  np.testing.assert_array_equal(seen_TT, (0 <= distance_TT) & (distance_TT <= 4))


@pytest.mark.parametrize('position', ['learned', 'rope', 'alibi'])
def test_packed_documents_give_the_logits_of_separate_ones(position):
  model = small.make_gpt(small.resolve(**_model(dict(position=position))))
  params, logits = small.random_params(model), small.logits_of(model)
  tokens_T = small.random_tokens(1)[0]
  segments_BT = jnp.array([[1, 1, 1, 2, 2, 2, 2, 0]])
  positions_BT = jnp.array([[0, 1, 2, 0, 1, 2, 3, 0]])
  packed_TV = logits(params, tokens_T[None], masks.causal(segments_BT), positions_BT)[0]
  assert np.isfinite(packed_TV).all()  # padding too, or it would poison the gradient
  for start, end in ((0, 3), (3, 7)):
    alone_T = np.roll(tokens_T, -start)  # what follows the document is not seen
    one_segment = masks.causal(jnp.ones((1, 8), jnp.int32))
    alone_TV = logits(params, alone_T[None], one_segment, jnp.arange(8)[None])[0]
    np.testing.assert_allclose(packed_TV[start:end], alone_TV[: end - start], atol=1e-5)


def test_padding_does_not_change_an_encoders_logits():
  overrides = dict(norm_position='post', activation='gelu_exact')
  model = small.make_gpt(small.resolve(**_model(overrides)))
  params, logits = small.random_params(model), small.logits_of(model)
  tokens_BT = small.random_tokens(1)
  is_real_BT = jnp.array([[1, 1, 1, 1, 1, 0, 0, 0]])
  padded_BTV = logits(params, tokens_BT, masks.bidirectional(is_real_BT))
  alone_BTV = logits(params, tokens_BT[:, :5], masks.bidirectional())
  np.testing.assert_allclose(padded_BTV[:, :5], alone_BTV, atol=1e-5)


def test_scanned_and_unrolled_layers_are_the_same_function():
  overrides = dict(
    num_layers=4, layer_pattern=('global', 'local:3'), position='rope', num_kv_heads=2
  )
  scanned, unrolled = (
    small.make_gpt(small.resolve(**_model(overrides, scan_layers=scan)))
    for scan in (True, False)
  )
  params, tokens_BT = small.random_params(scanned), small.random_tokens()
  np.testing.assert_allclose(
    small.logits_of(unrolled)(stacking.unstack(params), tokens_BT),
    small.logits_of(scanned)(params, tokens_BT),
    atol=1e-5,
  )


@functools.cache
def _without_remat():
  model = small.make_gpt(small.resolve(model__activation='swiglu'))
  params, tokens_BT = small.random_params(model), small.random_tokens()
  return params, tokens_BT, *_loss_and_grads(model)(params, tokens_BT)


@pytest.mark.parametrize(
  'remat,scan_layers', [(name, True) for name in POLICIES] + [('full', False)]
)
def test_rematerialising_changes_neither_loss_nor_gradients(remat, scan_layers):
  overrides = dict(activation='swiglu', scan_layers=scan_layers, remat=remat)
  model = small.make_gpt(small.resolve(**_model(overrides)))
  params, tokens_BT, loss, grads = _without_remat()
  if not scan_layers:
    params, grads = stacking.unstack(params), stacking.unstack(grads)
  other_loss, other_grads = _loss_and_grads(model)(params, tokens_BT)
  assert abs(loss - other_loss) < 1e-6
  small.assert_trees_close(other_grads, grads, atol=1e-6)


@pytest.mark.parametrize(
  'scan_layers,barriers', [(True, ['False', 'True']), (False, ['True'] * 4)]
)
def test_a_scan_recomputes_its_last_block_without_a_barrier(scan_layers, barriers):
  """In the order of the backward pass: the last block comes first."""
  overrides = dict(
    num_layers=4, layer_pattern=('global', 'local:4'), remat='full',
    scan_layers=scan_layers,
  )  # fmt: skip
  model = small.make_gpt(small.resolve(**_model(overrides)))
  params, tokens_BT = small.random_params(model), small.random_tokens()
  program = str(jax.make_jaxpr(jax.grad(small.nats(model)))(params, tokens_BT))
  pattern = 'differentiated=True.*?prevent_cse=(True|False)'
  assert re.findall(pattern, program, re.S) == barriers


def test_remat_policies_keep_fewer_numbers_for_the_backward_pass():
  """full < names and dots < none, counted in what the forward pass hands over."""
  kept = {}
  for remat in ('none', 'full', 'names', 'dots'):
    model = small.make_gpt(small.resolve(**_model(dict(remat=remat))))
    params, tokens_BT = small.random_params(model), small.random_tokens()
    _, vjp = jax.eval_shape(
      lambda p, m=model, t=tokens_BT: jax.vjp(lambda p: small.nats(m)(p, t), p), params
    )
    kept[remat] = pytree.count(vjp)
  assert kept['full'] < min(kept['names'], kept['dots'])
  assert max(kept['names'], kept['dots']) < kept['none']


def test_a_soft_cap_bounds_the_logits():
  model = small.make_gpt(small.resolve(**_model(dict(logit_softcap=0.5))))
  logits_BTV = small.logits_of(model)(small.random_params(model), small.random_tokens())
  assert np.abs(logits_BTV).max() < 0.5


def test_a_tied_head_has_no_matrix_of_its_own():
  shapes = {
    tie: nn.unbox(small.boxed_shapes(small.make_gpt(small.resolve(**_model(
      dict(tie_embeddings=tie)
    )))))
    for tie in (True, False)
  }  # fmt: skip
  assert 'head' not in shapes[True]
  assert shapes[False]['head']['kernel'].shape == (16, 16)


def test_bfloat16_stays_close_to_float32_and_logits_are_float32():
  overrides = dict(position='rope', norm='rmsnorm', activation='swiglu', num_kv_heads=2)
  low = small.make_gpt(small.resolve(**_model(overrides, dtype='bfloat16')))
  full = small.make_gpt(small.resolve(**_model(overrides)))
  params, tokens_BT = small.random_params(full), small.random_tokens()
  low_BTV, low_grads = small.logits_and_grads(low)(params, tokens_BT)
  full_BTV, full_grads = small.logits_and_grads(full)(params, tokens_BT)
  assert low_BTV.dtype == jnp.float32
  # bfloat16 keeps 8 bits: 0.4 % of logits of order 5, several roundings deep.
  np.testing.assert_allclose(low_BTV, full_BTV, atol=0.3)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(low_grads)} == {'float32'}
  low_P, full_P = (
    np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(grads)])
    for grads in (low_grads, full_grads)
  )
  assert low_P @ full_P / np.linalg.norm(low_P) / np.linalg.norm(full_P) > 0.99


def test_every_matmul_of_a_bfloat16_step_sums_in_float32():
  config = small.resolve(**_model(dict(dtype='bfloat16', activation='swiglu')))
  model = small.make_gpt(config)
  shapes = nn.unbox(small.boxed_shapes(model))
  tokens_BT = jax.ShapeDtypeStruct((2, 9), jnp.int32)
  text = small.jit(jax.grad(small.nats(model))).lower(shapes, tokens_BT).as_text()
  dots = [line for line in text.splitlines() if 'stablehlo.dot_general' in line]
  assert len(dots) > 20
  for line in dots:
    types = line.split(' : ')[-1]
    inputs, output = types.split('->')
    assert inputs.count('bf16>') == 2 and output.strip().endswith('xf32>'), line


def test_every_parameter_names_its_axes():
  for overrides in VARIANTS.values():
    model = small.make_gpt(small.resolve(**_model(overrides)))
    boxed = small.boxed_shapes(model)
    specs = dict(pytree.named_leaves(nn.get_partition_spec(boxed)))
    for name, leaf in pytree.named_leaves(nn.unbox(boxed)):
      assert len(specs[name]) == leaf.ndim, name
      assert set(specs[name]) <= set(LOGICAL_AXES), name
      assert (specs[name][0] == 'layers') == name.startswith('layers'), name


def test_positions_count_from_zero_when_none_are_given():
  model = small.make_gpt(small.resolve(**_model({})))
  params, logits = small.random_params(model), small.logits_of(model)
  tokens_BT = small.random_tokens()
  given_BTV = logits(params, tokens_BT, None, jnp.arange(8)[None])
  np.testing.assert_array_equal(given_BTV, logits(params, tokens_BT))


def _model(overrides, **more):
  return {f'model__{name}': value for name, value in (overrides | more).items()}


def _loss_and_grads(model):
  return small.jit(jax.value_and_grad(small.nats(model)))


def _seen(config, kernel, mask=None):
  """Returns whether logits at t depend on the token at s, bool [T, T], by gradients.

  Token s is the only one to read row s of the embedding, so the gradient with respect
  to that row is the gradient with respect to token s's embedding.
  """
  model = small.make_gpt(config, KERNELS[kernel])
  params = small.random_params(model)
  tokens_BT = jnp.arange(8)[None]

  @small.jit
  @jax.jacrev
  def influence_TVD(embedding_VD):
    changed = params | {'embed': {'embedding': embedding_VD}}
    logits_BTV, _ = model.apply({'params': changed}, tokens_BT, mask)
    # Any direction does, but not the sum: shifts of all logits may cancel.
    return logits_BTV[0] @ jnp.sin(jnp.arange(logits_BTV.shape[-1]))

  return np.asarray(influence_TVD(params['embed']['embedding']))[:, :8].any(-1)
