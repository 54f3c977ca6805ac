"""`--method=NAME:option=value` names a method, its options, or all that is wrong."""

import pytest

from gpt_jax import compress
from gpt_jax.compress import method_flag
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import above, section


@section
class _Options:
  threshold: float = above(0.0, default=6.0)
  path: str = ''


@entry(options=_Options)
def _method(given):
  del given


def test_options_are_read_by_their_types(monkeypatch):
  monkeypatch.setitem(compress.METHODS, 'mine', _method)
  name, made, options = method_flag.parse('mine:threshold=3:path=gs://a/b')
  assert (name, made) == ('mine', _method)
  assert options == _Options(threshold=3.0, path='gs://a/b')
  assert method_flag.parse('mine')[2] == _Options()


def test_mistakes_are_named_at_once(monkeypatch):
  monkeypatch.setitem(compress.METHODS, 'mine', _method)
  with pytest.raises(
    ConfigError, match=r"--method='bfloat61'.*did you mean 'bfloat16'"
  ):
    method_flag.parse('bfloat61')
  with pytest.raises(
    ConfigError, match='(?s):other: unknown key.*:threshold=0.0: expected more'
  ):
    method_flag.parse('mine:threshold=0:other=1')
  with pytest.raises(ConfigError, match='has no options'):
    method_flag.parse('bfloat16:bits=8')
