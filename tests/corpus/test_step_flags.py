"""`--step=NAME:field=value`: names, options and mistakes."""

import dataclasses

import pytest

from gpt_jax import corpus
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import entry
from gpt_jax.core.sections import at_least, comma_separated, section
from gpt_jax.corpus import step_flags


@section
class Options:
  least: int = at_least(1, 5)
  sets: tuple[str, ...] = comma_separated(())
  path: str = ''


@entry(options=Options)
def make(options, context):
  return options, context


@pytest.fixture(autouse=True)
def steps(monkeypatch):
  monkeypatch.setattr(step_flags, 'STEPS', corpus.STEPS | {'short': make})


def test_a_step_has_its_fields_and_defaults():
  first, second = step_flags.parse(
    ['short:least=3:sets=a,b', 'short:path=gs://bucket/x:least=7']
  )
  assert (first.name, first.options) == ('short', Options(least=3, sets=('a', 'b')))
  assert second.options == Options(least=7, path='gs://bucket/x')
  assert first.make('context') == (first.options, 'context')
  assert first.to_dict() == {'name': 'short', **dataclasses.asdict(first.options)}


def test_a_plug_in_is_named_by_its_module():
  (found,) = step_flags.parse(['tests.corpus.test_step_flags:make:least=2'])
  assert found.options == Options(least=2)


def test_all_mistakes_are_told_at_once():
  with pytest.raises(ConfigError) as caught:
    step_flags.parse(['shrot', 'short:least=0', 'short:lest=1'])
  lines = str(caught.value).splitlines()
  assert "--step='shrot'" in lines[0] and "did you mean 'short'?" in lines[0]
  assert lines[1].startswith('--step=short:least=0: expected at least 1')
  assert 'least' in lines[2]
