"""Codes among other parameters: found by dtype, unpacked by what stands beside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.quantization import int4, packed
from gpt_jax.quantization.kernel_format import Layout

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
  np.testing.assert_array_equal(packed.unpack(name, again, jnp.float32), found)


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
  assert int4.num_groups(640, 64) == 10
  assert int4.num_groups(96, 64) == 2
  assert int4.num_groups(50, 20) == 5
  assert int4.num_groups(7, 64) == 1


def test_an_error_of_four_bits_is_half_a_step_of_its_group():
  matrix = jax.random.normal(jax.random.key(0), (64, 5)) * jnp.logspace(-2, 1, 5)
  layout = Layout(2, 0, 1)
  codes, parts = int4.quantize(matrix, layout, 4)
  error = jnp.abs(int4.dequantize(codes, parts, layout) - matrix).reshape(4, 16, 5)
  # Scales have 8 bits: the largest weight may be 7.02 steps.
  limit = np.asarray(parts[int4.SCALE], np.float32)[:, None] * 0.54
  assert np.all(error <= limit)
