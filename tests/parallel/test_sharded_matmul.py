"""Products on a mesh: the einsum's numbers, and the communication that was written."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharded_matmul import MatmulSpec, sharded_matmul, sum_over_batch
from gpt_jax.parallel.sharding import RESIDUAL_AXES, make_sharding_rules
from tests import small_models as small

HIDDEN = ('batch', 'time', 'act_mlp')
HEADS = ('batch', 'act_heads', 'time', 'head_dim')
GROUPS = ('batch', 'act_kv_heads', 'time', 'head_dim')

PRODUCTS = {
  'widen': [MatmulSpec('BTD,DF->BTF', RESIDUAL_AXES, ('embed', 'mlp'), HIDDEN)] * 2,
  'narrow': [MatmulSpec('BTF,FD->BTD', HIDDEN, ('mlp', 'embed'), RESIDUAL_AXES)],
  'heads': [
    MatmulSpec('BTD,DHK->BHTK', RESIDUAL_AXES, ('embed', 'heads', 'head_dim'), HEADS),
    MatmulSpec(
      'BTD,DHK->BHTK', RESIDUAL_AXES, ('embed', 'kv_heads', 'head_dim'), GROUPS
    ),
  ],
  'out': [
    MatmulSpec('BHTK,HKD->BTD', HEADS, ('heads', 'head_dim', 'embed'), RESIDUAL_AXES)
  ],
}
SIZES = dict(B=8, T=8, D=16, F=24, H=4, K=2)

CASES = {
  'replicated': ('replicated', dict(data=8), {}),
  'fsdp': ('fsdp', dict(data=2, fsdp=4), {}),
  'fsdp_tensor': ('fsdp_tensor', dict(fsdp=4, tensor=2), {}),
  'fsdp_tensor, data': ('fsdp_tensor', dict(data=2, fsdp=2, tensor=2), {}),
  'sequence': ('sequence', dict(fsdp=2, sequence=2, tensor=2), {}),
  'whole groups': (
    'fsdp_tensor', dict(fsdp=4, tensor=2), dict(kv_heads=None, act_kv_heads=None),
  ),
  'whole stream': ('fsdp_tensor', dict(fsdp=4, tensor=2), dict(stream_time=None)),
  'stream cut in width': (
    'fsdp_tensor', dict(fsdp=4, tensor=2), dict(stream_time=None, act_embed='tensor'),
  ),
  'width on both': (
    'fsdp', dict(data=2, fsdp=4), dict(embed=('data', 'fsdp')),
  ),
  'width elsewhere': ('fsdp', dict(data=4, tensor=2), dict(embed='tensor')),
}  # fmt: skip


def rules_of(case):
  preset, mesh, overrides = CASES[case]
  config = small.resolve(
    parallel__preset=preset, parallel__mesh=mesh, parallel__overrides=overrides
  )
  return make_sharding_rules(config.parallel, make_mesh(config.parallel.mesh))


def operands(products, dtype=jnp.float32):
  rng = np.random.default_rng(0)

  def draw(letters):
    shape = [SIZES[letter] for letter in letters]
    return jnp.asarray(rng.normal(size=shape), dtype)

  return draw(products[0].letters[0]), [draw(p.letters[1]) for p in products]


def outs_and_grads(rules, products):
  """Returns a function of (x, kernels): the products and a loss' gradients."""

  def loss(x, kernels):
    outs = sharded_matmul(rules, products, x, kernels)
    return sum(jnp.sum(jnp.sin(out.astype(jnp.float32))) for out in outs), outs

  def run(x, kernels):
    grad = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, outs), grads = grad(x, kernels)
    return outs, grads

  return run


@pytest.mark.parametrize('name', PRODUCTS)
@pytest.mark.parametrize('case', CASES)
def test_values_and_gradients_are_those_of_one_device(case, name):
  products = PRODUCTS[name]
  x, kernels = operands(products)
  found = small.jit(outs_and_grads(rules_of(case), products))(x, kernels)
  expected = small.jit(outs_and_grads(None, products))(x, kernels)
  small.assert_trees_close(found, expected, atol=1e-4)


def compiled(case, name, dtype=jnp.bfloat16):
  """Returns the HLO before XLA's passes: what was asked for, in the types asked for."""
  rules, products = rules_of(case), PRODUCTS[name]
  x, kernels = operands(products, dtype)
  run = jax.jit(outs_and_grads(rules, products))
  return run.lower(x, kernels).as_text()


def collectives(text):
  found = re.findall(r'stablehlo\.(all_gather|reduce_scatter|all_reduce)', text)
  return {kind: found.count(kind) for kind in sorted(set(found))}


def test_a_weight_is_gathered_twice_and_its_gradient_scattered_once():
  counts = collectives(compiled('fsdp', 'narrow'))
  # The piece of the gradient that fsdp leaves is added up over data.
  assert counts == {'all_gather': 2, 'reduce_scatter': 1, 'all_reduce': 1}


def test_products_of_the_same_array_gather_it_once_and_share_its_gradients_sum():
  counts = collectives(compiled('fsdp_tensor', 'widen'))
  kernels = 2
  # Forward and backward: the stream and each kernel. Scattered: their gradients.
  assert counts == {'all_gather': 2 * (1 + kernels), 'reduce_scatter': 1 + kernels}


def test_what_travels_has_the_precision_of_the_product():
  text = compiled('fsdp_tensor', 'out')
  moved = re.findall(
    r'"stablehlo\.(?:all_gather|reduce_scatter)"[\s\S]*?-> tensor<[^>]*x(\w+)>', text
  )
  assert moved and set(moved) == {'bf16'}


def test_parts_of_devices_add_up_where_the_sum_is_placed():
  parts = np.random.default_rng(0).integers(0, 9, (8, 8, 16)).astype(np.float32)
  names = ('vocab', 'embed')
  for case in CASES:
    rules = rules_of(case)
    split = parts.reshape(rules.num_shards('batch'), -1, 8, 16).sum(1)
    split = jax.device_put(split, rules.sharding(('batch', None, None)))
    total = jax.jit(lambda x, rules=rules: sum_over_batch(rules, x, names))(split)
    np.testing.assert_array_equal(total, parts.sum(0))
    assert total.sharding.is_equivalent_to(rules.sharding(names), 2)
  np.testing.assert_array_equal(sum_over_batch(None, parts, names), parts.sum(0))
