"""Settings of cross-entropy beside a loss that has none of them."""

import pytest

from gpt_jax.core.errors import ConfigError
from tests import tiny_runs

OF_TEXTS = ('regression', 'reward')


@pytest.mark.parametrize('name', [*OF_TEXTS, 'span_labels'])
def test_settings_of_cross_entropy_are_refused(name):
  for field, value in (
    ('objective.label_smoothing', 0.1),
    ('objective.z_loss', 1e-4),
    ('eval.metrics', ('macro_f1',)),
  ):
    settings = {'objective.name': name, 'data.packing': 'pad', field: value}
    with pytest.raises(ConfigError, match=f'{field}=.*{name}'):
      tiny_runs.tiny_config(settings)


@pytest.mark.parametrize('name', OF_TEXTS)
def test_a_value_needs_an_end_token_to_stand_on(name):
  settings = {'objective.name': name, 'data.packing': 'pad', 'data.append_eos': False}
  with pytest.raises(ConfigError, match=f'append_eos=False.*what {name} learns'):
    tiny_runs.tiny_config(settings)
