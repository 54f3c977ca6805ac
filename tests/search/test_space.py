"""Ranges become distributions; what no config may have is told with its line."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.search import space
from tests.search.search_experiment import GRID, open_search

optuna = pytest.importorskip('optuna', reason='needs gpt_jax[sweep]')


def test_whole_numbers_stay_whole_and_choices_are_as_given(tmp_path):
  found = open_search(
    tmp_path,
    (
      "'optimizer.learning_rate': Range(1, 2),",
      "'schedule.warmup_steps': Range(1, 9, log=True),",
      "'model.layer_pattern': Range(0, 0, choices=(('global',), ('local:4',))),",
      "'model.bias': Range(0, 0, choices=(True, False)),",
    ),
  )
  rate, warmup, pattern, bias = found.space
  assert (rate.is_whole, warmup.is_whole) == (False, True)
  trial = optuna.create_study().ask()
  assert isinstance(rate.suggest(trial), float)
  assert isinstance(warmup.suggest(trial), int)
  assert pattern.suggest(trial) in (('global',), ('local:4',))
  assert bias.suggest(trial) in (True, False)
  drawn = found.values(optuna.trial.FixedTrial(trial.params))
  assert found.point(0, drawn).config.model.bias == drawn['model.bias']


@pytest.mark.parametrize(
  'line, told',
  [
    ("'optimizer.lr': Range(0.1, 1),", 'optimizer.lr: unknown key'),
    ("'model.num_layers': Range(1.5, 3),", 'a field of whole numbers'),
    ("'train.batch_size': Range(0, 8),", 'train.batch_size=0: expected'),
    ("'model.position': Range(0, 1),", 'a field of str, not a number'),
    ("'model.position': Range(0, 0, choices=('ropee',)),", "did you mean 'rope'"),
    ("'seed': Range(0, 0, choices=(1, 1)),", 'stands there twice'),
    ('', 'the experiment declares no ranges'),
  ],
)
def test_a_range_that_cannot_be_is_told_with_its_line(tmp_path, line, told):
  with pytest.raises(ConfigError) as caught:
    open_search(tmp_path, (line,))
  text = str(caught.value)
  assert told in text and 'rates.py:' in text, text


def test_all_wrong_ranges_are_told_at_once(tmp_path):
  with pytest.raises(ConfigError) as caught:
    open_search(tmp_path, ("'model.d_modl': Range(8, 9),", "'sed': Range(0, 1),"))
  assert '2 problems, nothing started' in str(caught.value)
  assert 'rates.py:13: ' in str(caught.value) and 'rates.py:14: ' in str(caught.value)


def test_a_grid_needs_values_that_can_be_counted(tmp_path):
  with pytest.raises(ConfigError, match='rates.py:13: .* are no grid; give choices'):
    open_search(tmp_path, sampler='grid')
  assert open_search(tmp_path, GRID, sampler='grid', num_trials=4).num_trials == 4


def test_unknown_samplers_and_a_missing_number_are_told(tmp_path):
  with pytest.raises(ConfigError, match="--search='rnadom': .* mean 'random'"):
    open_search(tmp_path, sampler='rnadom')
  with pytest.raises(ConfigError, match='--trials is missing'):
    open_search(tmp_path, num_trials=None)


def test_without_optuna_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'optuna', None)
  with pytest.raises(ConfigError, match=r"pip install 'gpt_jax\[sweep\]'"):
    space.import_optuna()
