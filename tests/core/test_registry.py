"""Registries of plug-ins: names, imports from outside, and the nearest name."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose, lookup, nearest

REGISTRY = {'dense': 1, 'fused': 2}


def test_a_known_name_gives_its_entry():
  assert lookup(REGISTRY, 'dense', 'attention.kernel') == 1
  assert choose(REGISTRY, 'fused', 'attention.kernel') == 2


def test_an_entry_from_outside_is_imported():
  assert lookup(REGISTRY, 'numpy:sqrt', 'attention.kernel') is np.sqrt


@pytest.mark.parametrize('name', ['os:system', 'subprocess:run', 'os.path:join'])
def test_pythons_own_modules_hold_no_plugins(name):
  with pytest.raises(ConfigError, match="attention.kernel=.*is Python's own"):
    lookup(REGISTRY, name, 'attention.kernel')


def test_a_misspelt_name_gets_choices_and_the_nearest():
  for find in (lookup, choose):
    with pytest.raises(ConfigError) as caught:
      find(REGISTRY, 'fuzed', 'attention.kernel')
    for words in ("attention.kernel='fuzed'", 'dense', "did you mean 'fused'?"):
      assert words in str(caught.value)


def test_a_name_like_no_other_gets_no_guess():
  for find in (lookup, choose):
    with pytest.raises(ConfigError) as caught:
      find(REGISTRY, 'zzz', 'attention.kernel')
    assert 'did you mean' not in str(caught.value)


@pytest.mark.parametrize(
  'name', ['no_such_module:x', 'numpy:no_such_name', 'numpy:', ':x']
)
def test_an_import_that_fails_says_what_was_expected(name):
  with pytest.raises(ConfigError, match='attention.kernel=.*package.module:attribute'):
    lookup(REGISTRY, name, 'attention.kernel')


def test_nearest_finds_a_slip_and_nothing_far():
  assert nearest('num_layer', ['num_layers', 'd_model']) == 'num_layers'
  assert nearest('qqqq', ['num_layers', 'd_model']) is None
  assert nearest(3, [33, 'a']) == '33'
