"""A config.json has no field that nobody looked at."""

import pytest

from gpt_jax.core.errors import CheckpointError, UserError
from gpt_jax.interop import families, numerics
from gpt_jax.interop.fields import Fields
from tests.interop.hub_configs import SHIPPED


def test_fields_that_were_used_or_are_harmless_pass():
  fields = Fields(dict(width=8, use_cache=True, is_decoder=False), 'config.json')
  assert fields.take('width') == 8
  assert fields.take('depth', 3) == 3
  fields.finish()


def test_all_that_is_wrong_is_told_at_once():
  values = dict(
    width='8', depth=2.5, alpha=3, beta=1, kind='odd', add_cross_attention=1
  )
  fields = Fields(values, 'config.json')
  fields.take('width')
  fields.take('depth', 1)
  fields.take('heads')
  fields.expect('alpha', 1, 2)
  fields.choose('kind', {'plain': 1})
  with pytest.raises(CheckpointError) as caught:
    fields.finish()
  for line in (
    "width='8': expected a whole number",
    'depth=2.5: expected a whole number',
    'heads: missing',
    'alpha=3: only 1 or 2 is supported',
    "kind='odd': expected one of plain",
    'add_cross_attention=1: only False',
    'beta=1: not known',
  ):
    assert line in str(caught.value)


@pytest.mark.parametrize('value', [True, float('nan'), 1e300, -3, [1], {}])
def test_numbers_are_numbers(value):
  fields = Fields(dict(width=value), 'config.json')
  assert fields.take('width', 5) == 5
  with pytest.raises(CheckpointError, match='width='):
    fields.finish()


ODD = (None, -1, 0, 1.5, 'x', [], {}, 1e300, True, 2**60, [{}], {'factor': 'x'})


@pytest.mark.slow
@pytest.mark.parametrize('spec', SHIPPED)
def test_odd_values_are_told_never_a_traceback(spec):
  values = SHIPPED[spec]
  names = [*values, 'rope_parameters', 'layer_types', 'rope_scaling', 'architectures']
  for name in names:
    for odd in ODD:
      changed = values | {name: odd}
      try:
        fields = Fields(changed, 'config.json')
        ours = families.find(changed, 'config.json').to_config(fields)
        fields.finish()
        numerics.resolve(ours)
      except UserError as error:
        assert str(error), (name, odd)
