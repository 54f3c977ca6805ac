"""What a search leaves: a config that trains, a table, a figure; and what it shows."""

import csv
import io
import types

import pytest
import rich.console

from gpt_jax.config import files, load
from gpt_jax.program import setup
from gpt_jax.search import (
  display,
  figure,
  outputs,
  search,
  trial_run,
)
from tests.search.search_experiment import Silent, bowl, open_search

optuna = pytest.importorskip('optuna', reason='needs gpt_jax[sweep]')

RANGES = (
  "'optimizer.learning_rate': Range(1e-4, 1.0, log=True),",
  "'optimizer.b2': Range(0.9, 0.99),",
  "'model.layer_pattern': Range(0, 0, choices=(('global',), ('local:4',))),",
)


@pytest.fixture(scope='module')
def found(tmp_path_factory):
  """Returns a finished Search of eight trials, none pruned."""
  made = open_search(
    tmp_path_factory.mktemp('search'), RANGES, sampler='random', num_trials=8,
    num_rungs=0, row='wide',
  )  # fmt: skip
  search.run(made, Silent(), run_trial=bowl)
  return made


def test_the_best_config_is_that_of_the_best_trial(found):
  best = found.best()
  path = outputs.write_best(found, best)
  config = setup.resolve(files.load_file(str(path)))
  trial = found.point(best.number, found.values_of(best)).config
  differing = {
    field: getattr(trial, field)
    for field in ('seed', 'model', 'optimizer', 'schedule', 'train')
    if getattr(trial, field) != getattr(config, field)
  }
  assert differing == {}
  assert config.model.d_model == 64 and config.seed == 3  # of the row and the size
  text = path.read_text()
  assert "config = load_file('base')" in text and 'config.optimizer.b1' not in text


def test_the_best_config_may_have_options_that_the_base_lacks(found):
  best = found.best()
  point = found.point(best.number, found.values_of(best))
  overrides = point.overrides | {'eval.sets.other': {'split': 'test'}}
  odd = types.SimpleNamespace(
    experiment=found.experiment, folder=found.folder, metric=found.metric,
    name=found.name, path=found.path, size=found.size, row=found.row,
    point=lambda *_: types.SimpleNamespace(overrides=overrides),
    values_of=found.values_of,
  )  # fmt: skip
  path = outputs.write_best(odd, best)
  assert 'with config.unlocked():' in path.read_text()
  assert 'other' in load.to_dict(setup.resolve(files.load_file(str(path))))['eval'][
    'sets'
  ]  # fmt: skip


def test_files_hold_every_trial_and_the_figure(found):
  paths = {path.name: path for path in outputs.write_all(found)}
  assert set(paths) == {'trials.csv', 'best.py', 'search.svg', 'search.png'}
  rows = list(csv.DictReader(paths['trials.csv'].open()))
  assert len(rows) == 8
  losses = [float(row['validation/loss']) for row in rows]
  assert losses == sorted(losses)
  assert paths['search.png'].read_bytes().startswith(b'\x89PNG')
  svg = paths['search.svg'].read_text()
  for text in ('best so far', 'importance (PED-ANOVA)', 'optimizer.b2', 'local:4'):
    assert text in svg, text


def test_what_decides_has_the_largest_importance():
  study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
  study.optimize(
    lambda trial: (
      trial.suggest_float('a', 0, 1) ** 2 + 0.01 * trial.suggest_float('b', 0, 1)
    ),
    n_trials=40,
  )
  shares = figure.importances(types.SimpleNamespace(study=study))
  assert list(shares) == ['a', 'b'] and shares['a'] > 0.9
  assert sum(shares.values()) == pytest.approx(1)


def test_json_of_a_search_is_complete(found):
  listed = outputs.trials(found)
  shown = outputs.as_json(found, listed, [])
  assert shown['best'] == listed[0] and len(shown['trials']) == 8
  assert shown['study'] == 'rates/quick/search' and shown['rungs'] == []
  assert shown['best']['values']['model.layer_pattern'][0] in ('global', 'local:4')


@pytest.mark.parametrize('is_terminal', [False, True])
def test_the_display_says_what_each_trial_came_to(found, is_terminal, monkeypatch):
  monkeypatch.setattr(display, 'REFRESH_SECONDS', 0.0)
  out = io.StringIO()
  console = rich.console.Console(file=out, force_terminal=is_terminal, width=100)
  ended = trial_run.Ended(trial_run.PRUNED, 2.5, 6)
  with display.Display(found, console) as show:
    show.started(3, {'optimizer.b2': 0.95}, True)
    show.stepped(3, 18)
    show.ended(3, ended)
    show.waiting()
    show.waiting()
  text = out.getvalue()
  assert '[8/8] continues trial_0003: optimizer.b2=0.95' in text
  assert (
    f'pruned trial_0003 2.5000 in 0:00, at step 6 (best {found.best().value:.4f}'
    in text
  )
  assert text.count('waiting for trials') == 1
  assert ('step 3/18' in text) == is_terminal
