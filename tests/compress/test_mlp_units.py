"""A narrower MLP computes what the wide one does without the units that went."""

import numpy as np
import pytest

from gpt_jax.compress import mlp_units
from gpt_jax.core.errors import ConfigError
from tests.compress import small_given

CASES = [
  {'model__scan_layers': True},
  {'model__scan_layers': False, 'model__activation': 'swiglu', 'model__bias': False},
]


def without_units(params, kept_LF, is_stacked):
  """Returns `params` with zero rows of down for all units that are not kept."""
  mask_LF = np.zeros(kept_LF.shape[:1] + (_width(params),), bool)
  np.put_along_axis(mask_LF, kept_LF, True, axis=1)
  masked = {name: tree for name, tree in params.items()}
  for i, name in enumerate([n for n in sorted(params) if n.startswith('layers')]):
    block = params[name]['block_0']
    down = np.asarray(block['mlp']['down']['kernel'])
    mask = mask_LF[..., None] if is_stacked else mask_LF[i][:, None]
    mlp = block['mlp'] | {'down': block['mlp']['down'] | {'kernel': down * mask}}
    masked[name] = {'block_0': block | {'mlp': mlp}}
  return masked


def _width(params):
  name = next(n for n in params if n.startswith('layers'))
  return params[name]['block_0']['mlp']['down']['kernel'].shape[-2]


@pytest.mark.parametrize('overrides', CASES)
def test_it_equals_the_masked_model(overrides, monkeypatch):
  one = small_given.given(mlp_units.Units(fraction=0.5), **overrides)
  chosen, keep = [], mlp_units.keep

  def spy(leaves, prefix, kept, is_stacked):
    chosen.append(kept)
    keep(leaves, prefix, kept, is_stacked)

  monkeypatch.setattr(mlp_units, 'keep', spy)
  made = mlp_units.drop_units(one)
  config = small_given.changed(one.config, made.fields)
  assert config.model.d_ff == one.config.model.d_ff // 2
  masked = without_units(
    one.params, np.concatenate(chosen), one.config.model.scan_layers
  )
  found = small_given.logits(config, made.params)
  wanted = small_given.logits(one.config, masked)
  np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_the_energy_of_a_unit_is_what_its_removal_changes():
  one = small_given.given(mlp_units.Units(), model__scan_layers=False)
  captured = small_given.captured(one)['layers_0/block_0/mlp/__call__']
  energies = {}
  energy = mlp_units.unit_energies

  def spy(linear, kernel, sums):
    energies[linear.path] = energy(linear, kernel, sums)
    return energies[linear.path]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(mlp_units, 'unit_energies', spy)
    mlp_units.drop_units(one)
  for unit in (0, 17):
    kept = np.delete(np.arange(64), unit)[None]
    masked = without_units(one.params, np.repeat(kept, 2, axis=0), False)
    changed = small_given.captured(one, masked)['layers_0/block_0/mlp/__call__']
    weights_BT1 = small_given.weights()[..., None]
    wanted = (weights_BT1 * (changed - captured) ** 2).sum()
    found = energies['layers_0/block_0/mlp/down'][0, unit]
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


@pytest.mark.parametrize(
  'options, overrides, message',
  [
    ({'fraction': 0.001}, {}, 'would leave 64 of the 64 units'),
    ({'fraction': 0.9, 'multiple_of': 64}, {}, 'would leave 0 of the 64 units'),
    ({}, {'model__block': 'attention_only'}, 'has no MLP'),
  ],
)
def test_widths_that_cannot_be_are_refused(options, overrides, message):
  one = small_given.given(mlp_units.Units(**options), **overrides)
  with pytest.raises(ConfigError, match=message):
    mlp_units.drop_units(one)
