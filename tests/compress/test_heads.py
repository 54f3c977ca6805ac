"""Fewer heads compute what all do with the removed ones at zero."""

import numpy as np
import pytest

from gpt_jax.compress import heads
from gpt_jax.core.errors import ConfigError
from tests.compress import small_given

GROUPED = {'model__num_kv_heads': 2}
CASES = [
  pytest.param({'model__scan_layers': True}, 1, marks=pytest.mark.slow),
  pytest.param(
    {'model__scan_layers': True, 'model__num_kv_heads': 1, 'model__bias': False},
    3,
    marks=pytest.mark.slow,
  ),
  ({'model__scan_layers': False} | GROUPED, 2),
]


def without_heads(params, kept_LH, is_stacked):
  """Returns `params` with a zero output projection of all heads that are not kept."""
  masked = dict(params)
  for i, name in enumerate([n for n in sorted(params) if n.startswith('layers')]):
    block = params[name]['block_0']
    out = np.asarray(block['attention']['out']['kernel'])
    mask_LH = np.zeros((len(kept_LH), out.shape[-3]), bool)
    np.put_along_axis(mask_LH, kept_LH, True, axis=1)
    mask = (mask_LH if is_stacked else mask_LH[i])[..., None, None]
    own = block['attention']
    own = own | {'out': own['out'] | {'kernel': out * mask}}
    masked[name] = {'block_0': block | {'attention': own}}
  return masked


@pytest.mark.parametrize('overrides, remove', CASES)
def test_removed_heads_are_zeroed_heads(overrides, remove, monkeypatch):
  one = small_given.given(heads.Heads(remove=remove), **overrides)
  chosen, keep = [], heads.keep

  def spy(leaves, linear, model, kept):
    chosen.append(kept)
    keep(leaves, linear, model, kept)

  monkeypatch.setattr(heads, 'keep', spy)
  made = heads.drop_heads(one)
  config = small_given.changed(one.config, made.fields)
  assert config.model.num_heads == 4 - remove
  masked = without_heads(
    one.params, np.concatenate(chosen), one.config.model.scan_layers
  )
  found = small_given.logits(config, made.params)
  wanted = small_given.logits(one.config, masked)
  np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
def test_the_energy_of_a_head_is_what_its_removal_changes():
  one = small_given.given(heads.Heads(), model__scan_layers=False)
  energies, energy = {}, heads.head_energies

  def spy(linear, kernel, sums):
    energies[linear.path] = energy(linear, kernel, sums)
    return energies[linear.path]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(heads, 'head_energies', spy)
    heads.drop_heads(one)
  # Of `attention`, whose result is (stream, cache), the first.
  name = 'layers_0/block_0/attention/__call__'
  before_BTD = small_given.captured(one)[name]
  for head in range(4):
    kept = np.delete(np.arange(4), head)[None].repeat(2, axis=0)
    masked = without_heads(one.params, kept, False)
    changed_BTD = small_given.captured(one, masked)[name]
    weights_BT1 = small_given.weights()[..., None]
    wanted = (weights_BT1 * (changed_BTD - before_BTD) ** 2).sum()
    found = energies['layers_0/block_0/attention/out'][0, head]
    np.testing.assert_allclose(found, wanted, rtol=1e-3)


def test_heads_that_share_keys_stay_with_theirs():
  energies_LH = np.array([[4.0, 1.0, 2.0, 3.0], [1.0, 2.0, 4.0, 3.0]])
  model = small_given.given(None, **GROUPED).config.model
  found = heads.kept_heads(energies_LH, model, 2)
  np.testing.assert_array_equal(found, [[0, 3], [1, 2]])


@pytest.mark.parametrize(
  'remove, overrides, message',
  [
    (4, {}, 'a layer has 4 heads; at most 3 go'),
    (1, GROUPED, '4 heads of a layer share 2 keys.*expected 2'),
    (4, GROUPED, 'expected 2'),
    (1, {'model__position': 'alibi'}, 'the slope of a head depends'),
  ],
)
def test_numbers_of_heads_that_cannot_be_are_refused(remove, overrides, message):
  one = small_given.given(heads.Heads(remove=remove), **overrides)
  with pytest.raises(ConfigError, match=message):
    heads.drop_heads(one)
