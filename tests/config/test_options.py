"""Sections that entries own: declared beside the entry, checked with all others."""

import json
import sys
import types

import pytest

from gpt_jax.config import load, migrate, options
from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.core.sections import NoOptions, at_least, between, one_of, section
from gpt_jax.data import json_lines
from gpt_jax.model import positions
from gpt_jax.objectives import causal_lm
from gpt_jax.program import setup
from gpt_jax.tasks import classification
from gpt_jax.train import resume
from tests import small_models as small

NAME = 'a_plugin:{}'


@section
class Inner:
  depth: int = at_least(1, default=2)


@section
class Options:
  alpha: float = between(0.0, 1.0, default=0.25)
  mode: str = one_of('hard', 'soft', default='hard')
  shares: tuple[float, ...] = (0.5, 0.5)
  limit: int | None = None
  inner: Inner = Inner()


def _problems(config):
  if config.objective.options.alpha and config.objective.label_smoothing:
    text = '=0.5: with label_smoothing; set one of them to 0'
    yield Problem('objective.options.alpha', text)


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
  """Makes `a_plugin` importable: entries of several registries with Options."""
  module = types.ModuleType('a_plugin')
  module.__file__ = 'a_plugin.py'

  @registry.entry(options=Options, problems=_problems)
  def make(cfg, *, vocab, seq_len):
    return causal_lm.make(cfg, vocab=vocab, seq_len=seq_len)

  @registry.entry(options=Options)
  def open_source(data):
    return json_lines.make(data)

  @section
  class Needed:
    width: int = at_least(1)

  @registry.entry(options=Needed)
  def needs(cfg, **_):
    return causal_lm.make(cfg)

  @registry.entry(options=Options)
  def make_task(config):
    return classification.make(config)

  module.make, module.open_source, module.needs = make, open_source, needs
  module.make_task = make_task

  @registry.entry(options=Options)
  def activation(x):
    return x

  module.plain, module.activation = causal_lm.make, activation
  module.position = positions.Position(options=Options)
  monkeypatch.setitem(sys.modules, 'a_plugin', module)


def objective(**overrides):
  name = NAME.format('make')
  return small.resolve(objective__name=name, **overrides).objective.options


def refusal(**overrides):
  with pytest.raises(ConfigError) as caught:
    small.resolve(**overrides)
  return str(caught.value)


def test_defaults_stand_where_nothing_is_given():
  assert objective() == Options()
  assert small.resolve().objective.options == NoOptions()


def test_text_of_the_command_line_is_read_by_the_option_s_type():
  got = objective(
    objective__options__alpha='1', objective__options__shares='[1, 0]',
    objective__options__limit='1e3', objective__options__inner__depth='7',
  )  # fmt: skip
  assert got == Options(alpha=1.0, shares=(1.0, 0.0), limit=1000, inner=Inner(depth=7))


def test_options_in_a_config_file_are_a_dict():
  values = small.base_config()
  values.objective.name = NAME.format('make')
  values.objective.options = dict(alpha=0.5, inner=dict(depth=3))
  config = setup.resolve(values, {'objective.options.mode': 'soft'})
  assert config.objective.options == Options(
    alpha=0.5, mode='soft', inner=Inner(depth=3)
  )


def test_all_problems_of_options_are_reported_with_the_others():
  text = refusal(
    objective__name=NAME.format('make'), objective__options__alpha='1.5',
    objective__options__mode='sofd', objective__options__lmit='3',
    objective__options__inner__depth='0', model__num_layers=0,
  )  # fmt: skip
  for line in (
    '5 problem(s)',
    'objective.options.alpha=1.5: expected at most 1.0',
    "objective.options.mode='sofd': expected one of hard, soft; did you mean 'soft'?",
    "objective.options.lmit: unknown key; did you mean 'limit'?",
    'objective.options.inner.depth=0: expected at least 1',
    'model.num_layers=0: expected at least 1',
  ):
    assert line in text


def test_an_option_without_a_default_has_to_be_given():
  name = NAME.format('needs')
  assert 'objective.options.width: missing; set it' in refusal(objective__name=name)
  config = small.resolve(objective__name=name, objective__options__width='3')
  assert config.objective.options.width == 3


@pytest.mark.parametrize('name', ['causal_lm', NAME.format('plain')])
def test_an_entry_that_declares_none_takes_no_options(name):
  text = refusal(objective__name=name, objective__options__alpha='0.1')
  assert f'objective.options.alpha: objective.name={name!r} has no options' in text


def test_an_entry_s_own_rules_are_asked_while_loading():
  given = dict(objective__options__alpha=0.5, objective__label_smoothing=0.1)
  text = refusal(objective__name=NAME.format('make'), **given)
  assert text == (
    '1 problem(s) in the config:\n'
    '  objective.options.alpha=0.5: with label_smoothing; set one of them to 0'
  )


@pytest.mark.parametrize('field', sorted(options.OPTIONS))
def test_every_section_that_picks_an_entry_may_have_options(field):
  special = {'model.position': 'position', 'task.name': 'make_task'}
  where = options.OPTIONS[field]
  name = NAME.format(special.get(field, 'open_source'))
  overrides = {field: name, f'{where}.alpha': '0.75'}
  if field == 'task.name':
    overrides |= {'task.files.train': 'x.tsv', 'objective.name': 'class_labels'}
  config = setup.resolve(small.base_values(), small.SMALL | overrides)
  section_name, _, name = where.partition('.')
  assert getattr(getattr(config, section_name), name) == Options(alpha=0.75)


def test_options_that_cannot_be_given_are_refused():
  text = refusal(model__activation=NAME.format('activation'))
  assert "model.activation='a_plugin:activation': declares options, for which" in text


def test_options_survive_json_and_come_back_equal():
  config = small.resolve(
    objective__name=NAME.format('make'), objective__options__alpha=0.5
  )
  saved = json.loads(json.dumps(load.to_dict(config)))
  assert saved['objective']['options']['inner'] == {'depth': 2}
  assert setup.resolve(saved) == config


def test_a_run_saved_before_an_option_existed_gets_its_default():
  config = small.resolve(objective__name=NAME.format('make'))
  saved = json.loads(json.dumps(load.to_dict(config)))
  del saved['objective']['options']['mode']
  assert setup.resolve(saved).objective.options.mode == 'hard'
  resume.same_run(saved, config, 'runs/a')
  changed = small.resolve(
    objective__name=NAME.format('make'), objective__options__mode='soft'
  )
  with pytest.raises(ValueError, match="objective.options.mode: 'hard' -> 'soft'"):
    resume.same_run(saved, changed, 'runs/a')


def test_a_run_from_before_all_options_is_read_and_resumes(capsys):
  config = small.resolve()
  saved = json.loads(json.dumps(load.to_dict(config)))
  for where in options.OPTIONS.values():
    section_name, _, name = where.partition('.')
    del saved[section_name][name]
  assert setup.resolve(migrate.read_saved(saved, 'runs/old')) == config
  resume.same_run(saved, config, 'runs/old')
  assert capsys.readouterr().err == ''


def test_a_saved_run_may_name_plug_ins_that_are_not_here():
  values = load.to_dict(small.resolve())
  values['optimizer'] |= {'name': 'gone:make', 'options': {'beta': [1, 2]}}
  with pytest.raises(ConfigError, match="optimizer.name='gone:make': no module 'gone'"):
    setup.resolve(values)
  config = setup.resolve(values, must_import=False)
  assert config.optimizer.options.beta == (1, 2)
  assert load.to_dict(config)['optimizer'] == values['optimizer']
  assert setup.resolve(values, must_import=False) == config


def test_parts_of_the_data_have_options_of_their_own_source():
  source = NAME.format('open_source')
  sets = {
    'same': {'split': 'test'},
    'other': {'options': {'alpha': 0.5}, 'split': 'test'},
    'plain': {'source': 'uniform'},
  }
  config = small.resolve(
    data__source=source, data__options__alpha=0.75, eval__sets=sets,
    checkpoint__keep_best=0,
  )  # fmt: skip

  def found(name):
    fields = config.eval.sets[name]
    return load.data_section(config.data, fields, 'eval.sets', setup.SOURCES).options

  assert found('same') == Options(alpha=0.75)
  assert found('other') == Options(alpha=0.5)
  assert found('plain') == NoOptions()


def test_wrong_options_and_sources_of_parts_are_named():
  text = refusal(
    data__source=NAME.format('open_source'),
    eval__sets={'a': {'options': {'alpha': 2}}, 'b': {'source': 'unifrm'}},
    checkpoint__keep_best=0,
    data__mixture={'c': {'weight': 1, 'source': 'uniform', 'options.alpha': 0.5}},
  )
  assert 'eval.sets.a.options.alpha=2.0: expected at most 1.0' in text
  assert "eval.sets.b.source='unifrm': expected one of" in text
  assert "data.mixture.c.options.alpha: data.mixture.c.source='uniform' has" in text
