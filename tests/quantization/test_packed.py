"""Codes among other parameters: found by dtype, unpacked by what stands beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.quantization import int4, packed
from gpt_jax.quantization.kernel_format import Layout, num_groups

NAMES = {
  'layers/mlp/up/kernel': Layout(3, 1, 1),
  'layers_0/out/kernel': Layout(3, 0, 2),
}


def kernel(seed=0):
  return jax.random.normal(jax.random.key(seed), (4, 32, 6))


@pytest.mark.parametrize('format', packed.FORMATS)
@pytest.mark.parametrize('name', NAMES)
def test_a_kernel_is_unpacked_to_within_a_step(format, name):
  leaves = packed.pack_kernel(
    name, kernel(), packed.FORMATS[format].dtype, NAMES[name], groups=4
  )
  found = packed.unpack(name, leaves, jnp.float32)
  limit = {'int8': 0.02, 'int4': 0.3, 'nf4': 0.5}[format]
  assert found.shape == kernel().shape
  assert float(jnp.abs(found - kernel()).max()) < limit
  assert packed.is_packed(leaves[name])
  assert all(packed.is_part(each) for each in leaves if each != name)
  again = packed.pack(name, found, leaves[name].dtype, leaves)
  same = packed.unpack(name, again, jnp.float32)
  np.testing.assert_allclose(same, found, atol=0.1 if format == 'int4' else 0)


def test_trees_are_unpacked_and_described_in_full():
  table_VD = jax.random.normal(jax.random.key(1), (10, 8))
  leaves = packed.pack_embedding('embed/embedding', table_VD) | {
    'final_norm/scale': jnp.ones(8)
  }
  tree = pytree.nested(leaves)
  full = packed.unpacked(tree, jnp.float32)
  assert set(full['embed']) == {'embedding'}
  np.testing.assert_allclose(full['embed']['embedding'], table_VD, atol=0.02)
  structs = packed.structs_in_full(tree, 'float32')
  assert jax.tree.map(lambda x: (x.shape, x.dtype), structs) == jax.tree.map(
    lambda x: (x.shape, x.dtype), full
  )


def test_groups_divide_what_is_summed():
  assert num_groups(640, 64) == 10
  assert num_groups(96, 64) == 2
  assert num_groups(50, 20) == 5
  assert num_groups(7, 64) == 1


def test_an_error_of_four_bits_is_half_a_step_of_its_group():
  matrix = jax.random.normal(jax.random.key(0), (64, 5)) * jnp.logspace(-2, 1, 5)
  layout = Layout(2, 0, 1)
  codes, parts = int4.quantize(matrix, layout, 4)
  error = jnp.abs(int4.dequantize(codes, parts, layout) - matrix).reshape(4, 16, 5)
  scale = np.abs(np.asarray(parts[int4.SCALE], np.float32))
  plain = np.abs(np.asarray(matrix).reshape(4, 16, 5)).max(1) / 8
  assert np.all(scale <= plain * 1.01) and np.all(scale >= plain * 0.7)
  # What no code reaches, beyond 8 steps or 7, is the nearest end.
  inside = np.abs(np.asarray(matrix).reshape(4, 16, 5)) <= 7 * scale[:, None]
  limit = np.broadcast_to(scale[:, None] * 0.51, error.shape)
  assert np.all(np.asarray(error)[inside] <= limit[inside])
