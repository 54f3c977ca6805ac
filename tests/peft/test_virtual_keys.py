"""Where virtual keys are in a model's parameters, and how many fit before a row."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import stacking
from gpt_jax.peft import virtual_keys
from tests import small_models as small
from tests.peft import virtual_models as virtual

CYCLE = dict(
  num_layers=4, layer_pattern=('global', 'local:4'), num_kv_heads=2, position='rope'
)


def test_leaves_stand_beside_the_kernels_of_each_layer():
  for scans in (False, True):
    cfg = small.model_config(**CYCLE, scan_layers=scans)
    leaves = virtual_keys.leaves_of(cfg, 3, init=None)
    shape = ((2,) if scans else ()) + (2, 3, 4)
    assert {leaf.shape for leaf in leaves.values()} == {shape}
    assert len({len(leaf.axes) for leaf in leaves.values()} | {len(shape)}) == 1
    assert len(leaves) == (4 if scans else 8)


def test_stacked_and_unrolled_layers_get_the_same():
  cfg = small.model_config(**CYCLE)
  stacked = {
    'layers': {f'block_{i}': {'attention': {'w': jnp.zeros(2)}} for i in (0, 1)}
  }
  kv_L2GPK = jnp.arange(4.0 * 2 * 2 * 3 * 4).reshape(4, 2, 2, 3, 4)
  found = stacking.unstack(virtual_keys.with_layers(stacked, cfg, kv_L2GPK))
  apart = virtual_keys.with_layers(stacking.unstack(stacked), cfg, kv_L2GPK)
  small.assert_trees_close(found, apart, atol=0)
  value_GPK = apart['layers_1']['block_0']['attention']['prefix_value']
  np.testing.assert_array_equal(value_GPK, kv_L2GPK[2, 1])


@pytest.mark.parametrize('name', ['prefix', 'p_tuning_v2', 'prompt'])
def test_more_than_fits_before_a_row_is_refused(name):
  def make(**fields):
    return peft.make_adapter(virtual.config_of(name, **fields))

  make(**{'peft__options.length': 7, 'model__max_seq_len': 15})
  with pytest.raises(ConfigError, match='max_seq_len=14, .* 7 are left.*=8.*at most 6'):
    make(**{'peft__options.length': 7, 'model__max_seq_len': 14})
  with pytest.raises(ConfigError, match='set peft.options.length to at most 6'):
    make(**{'peft__options.length': 99, 'model__max_seq_len': 14})
  with pytest.raises(ConfigError, match='length=8: expected fewer.*at most 7'):
    make(**{'peft__options.length': 8, 'model__position': 'rope'})
