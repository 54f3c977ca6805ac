"""The linear maps of a model, found by running it once over shapes."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import linears
from tests import small_models


@pytest.mark.parametrize('scan', [True, False])
def test_all_linear_maps_are_found(scan):
  cfg = small_models.model_config(activation='swiglu', scan_layers=scan)
  found = linears.find(cfg)
  assert len(found) == 7 if scan else 14
  names = dict.fromkeys(linear.path.rpartition('/')[2] for linear in found)
  assert set(names) == {'query', 'key', 'value', 'out', 'up', 'gate', 'down'}
  assert {len(linear.stack) for linear in found} == ({1} if scan else {0})


def test_a_map_knows_what_it_sums_over():
  cfg = small_models.model_config(num_kv_heads=2, d_ff=24)
  found = {each.path.rpartition('/')[2]: each for each in linears.find(cfg)}
  assert {name: (each.fan_in, each.fan_out) for name, each in found.items()} == {
    'query': (16, 16), 'key': (16, 8), 'value': (16, 8), 'out': (16, 16),
    'up': (16, 24), 'down': (24, 16),
  }  # fmt: skip
  out = found['out']
  assert (out.contracted, out.kept) == ('HK', 'D')
  assert out.axes_of('HKD') == ('heads', 'head_dim', 'embed')
  assert out.stack_axes == ('layers',)


def test_a_pattern_chooses_by_path():
  cfg = small_models.model_config()
  assert len(linears.choose(cfg, '', 'targets')) == 6
  assert len(linears.choose(cfg, 'mlp/', 'targets')) == 2
  with pytest.raises(ConfigError, match=r"several are 'query\|value'"):
    linears.choose(cfg, 'query, value', 'targets')


def test_a_path_of_unrolled_layers_finds_the_entry_of_all():
  entries = {'layers/block_0/mlp/up': 1, 'layers_2/block_0/mlp/up': 2, 'embed': 3}
  paths = (*entries, 'layers_11/block_0/mlp/up', 'layers_1/block_1/mlp/up', 'head')
  found = [linears.lookup_layer(entries, path) for path in paths]
  assert found == [1, 2, 3, 1, None, None]
