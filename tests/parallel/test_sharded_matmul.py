"""Matmuls on a mesh: the einsum's numbers, and the collectives that were written."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharded_matmul import MatmulSpec, sharded_matmul, sum_over_batch
from gpt_jax.parallel.sharding import make_sharding_rules
from tests import small_models as small

MATMULS = {
  'up, gate': [MatmulSpec('BTD,DF->BTF')] * 2,
  'down': [MatmulSpec('BTF,FD->BTD')],
  'query, key': [MatmulSpec('BTD,DHK->BHTK'), MatmulSpec('BTD,DGK->BGTK')],
  'out': [MatmulSpec('BHTK,HKD->BTD')],
}
SIZES = dict(B=8, T=8, D=16, F=24, H=4, G=2, K=2)

CASES = {
  'replicated': ('replicated', dict(data=8), {}),
  'fsdp': ('fsdp', dict(data=2, fsdp=4), {}),
  'fsdp_tensor': ('fsdp_tensor', dict(fsdp=4, tensor=2), {}),
  'fsdp_tensor, data': ('fsdp_tensor', dict(data=2, fsdp=2, tensor=2), {}),
  'sequence': ('sequence', dict(fsdp=2, sequence=2, tensor=2), {}),
  'replicated kv heads': (
    'fsdp_tensor', dict(fsdp=4, tensor=2), dict(kv_heads=None, act_kv_heads=None),
  ),
  'replicated stream': ('fsdp_tensor', dict(fsdp=4, tensor=2), dict(stream_time=None)),
  'stream sharded in width': (
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


def operands(specs, dtype=jnp.float32):
  rng = np.random.default_rng(0)

  def draw(letters):
    shape = [SIZES[letter] for letter in letters]
    return jnp.asarray(rng.normal(size=shape), dtype)

  return draw(specs[0].letters[0]), [draw(p.letters[1]) for p in specs]


def outs_and_grads(rules, specs):
  """Returns a function of (x, kernels): outputs, and gradients of a loss."""

  def loss(x, kernels):
    outs = sharded_matmul(rules, specs, x, kernels)
    return sum(jnp.sum(jnp.sin(out.astype(jnp.float32))) for out in outs), outs

  def run(x, kernels):
    grad = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    (_, outs), grads = grad(x, kernels)
    return outs, grads

  return run


@pytest.mark.parametrize(
  'name',
  [
    n if n == 'query, key' else pytest.param(n, marks=pytest.mark.slow) for n in MATMULS
  ],
)
@pytest.mark.parametrize('case', CASES)
def test_values_and_gradients_are_those_of_one_device(case, name):
  specs = MATMULS[name]
  x, kernels = operands(specs)
  found = small.jit(outs_and_grads(rules_of(case), specs))(x, kernels)
  expected = small.jit(outs_and_grads(None, specs))(x, kernels)
  small.assert_trees_close(found, expected, atol=1e-4)


def compiled(case, name, dtype=jnp.bfloat16):
  """Returns the HLO before XLA's passes: what was asked for, in the types asked for."""
  rules, specs = rules_of(case), MATMULS[name]
  x, kernels = operands(specs, dtype)
  run = jax.jit(outs_and_grads(rules, specs))
  return run.lower(x, kernels).as_text()


def collectives(text):
  found = re.findall(r'stablehlo\.(all_gather|reduce_scatter|all_reduce)', text)
  return {kind: found.count(kind) for kind in sorted(set(found))}


def test_weights_are_gathered_twice_and_gradients_reduced_once():
  counts = collectives(compiled('fsdp', 'down'))
  # The shard of the gradient that fsdp leaves is summed over data.
  assert counts == {'all_gather': 2, 'reduce_scatter': 1, 'all_reduce': 1}


def test_matmuls_of_one_array_share_its_gather_and_gradient_sum():
  counts = collectives(compiled('fsdp_tensor', 'up, gate'))
  kernels = 2
  # Forward and backward: the stream and each kernel. Scattered: their gradients.
  assert counts == {'all_gather': 2 * (1 + kernels), 'reduce_scatter': 1 + kernels}


def test_collectives_move_arrays_in_the_dtype_of_the_matmul():
  text = compiled('fsdp_tensor', 'out')
  moved = re.findall(
    r'"stablehlo\.(?:all_gather|reduce_scatter)"[\s\S]*?-> tensor<[^>]*x(\w+)>', text
  )
  assert moved and set(moved) == {'bf16'}


def test_partial_sums_add_up_where_the_sum_is_placed():
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
