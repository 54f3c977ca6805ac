"""What the report of a fine-tuned run collects, with its data and without."""

import json
import shutil

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.program import setup
from gpt_jax.reports import task_report
from gpt_jax.tasks import make_task
from gpt_jax.train import average, score_start, task_end
from gpt_jax.workdir.paths import Workdir
from tests import task_runs as runs

pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra


@pytest.fixture(scope='module')
def copied(task_runs, tmp_path_factory):
  return shutil.copytree(task_runs / 'a', tmp_path_factory.mktemp('runs') / 'a')


@pytest.fixture(scope='module')
def made(copied):
  return task_report.make_report(copied)


@pytest.fixture
def without_data(task_runs, tmp_path):
  """Returns a copy of a run whose config names files that are not there."""
  folder = shutil.copytree(task_runs / 'a', tmp_path / 'run')
  config = json.loads((folder / 'config.json').read_text())
  config['task']['files'] = {
    split: str(tmp_path / f'gone_{split}.jsonl') for split in config['task']['files']
  }
  (folder / 'config.json').write_text(json.dumps(config))
  return folder


def test_each_set_has_the_model_the_baselines_and_tables(made):
  saved = json.loads(made.workdir.eval.read_text())
  assert [one.name for one in made.sets] == ['validation', 'test']
  for one in made.sets:
    assert one.metrics == saved[one.name]
    assert one.baselines.keys() == {'majority class', 'TF-IDF + logistic regression'}
    assert {row['name'] for row in one.details['per_class']} == set(runs.LABELS)
  right = [one.worth for one in made.sets[1].examples]
  assert sum(right) / len(right) == pytest.approx(saved['test']['accuracy'])
  assert made.notes == [] and made.step == saved['step'] and made.metric == 'accuracy'


def test_the_head_says_what_was_trained_on_what(made):
  facts = dict(made.facts)
  assert facts['Task'] == 'classification, trained by class_labels'
  assert facts['Data'].index('train') < facts['Data'].index('test')
  assert facts['Init from'].startswith('nothing')
  assert facts['Training'] == '40 steps of 8 rows'
  assert facts['Scored step'].endswith('by validation/accuracy')
  assert ' parameters, 1 layers of width 32' in facts['Model']
  assert ' \\\n  ' in made.command and made.command.startswith('gpt-jax')
  assert made.unit == 'tokens' and made.rows['train'][1] > 10


def test_baselines_are_kept_and_read_again(made, monkeypatch):
  kept = json.loads(made.workdir.baselines.read_text())
  assert kept['test'] == made.sets[1].baselines

  def never(*args):
    raise AssertionError

  monkeypatch.setattr(task_report.task_baselines, 'score_baselines', never)
  again = task_report.make_report(made.workdir)
  assert again.sets[1].baselines == made.sets[1].baselines


def test_without_data_the_workdir_is_shown_and_that_is_said(without_data, made):
  report = task_report.make_report(without_data)
  assert 'The data could not be read' in report.notes[0]
  assert 'gone_train.jsonl' in report.notes[0]
  assert report.splits.records == {} and report.rows == {}
  for one, other in zip(report.sets, made.sets, strict=True):
    assert one.metrics == other.metrics and one.details == other.details
    assert [x.worth for x in one.examples] == [x.worth for x in other.examples]
    assert one.baselines == {}
  assert report.notes[-1].startswith('No baselines on validation, test')


def test_baselines_of_before_outlive_the_data(without_data, made):
  shutil.copy(made.workdir.baselines, Workdir(without_data).baselines)
  report = task_report.make_report(without_data)
  assert report.sets[0].baselines == made.sets[0].baselines
  assert len(report.notes) == 1


def test_whatever_else_is_gone_is_said(without_data):
  workdir = Workdir(without_data)
  for path in (workdir.eval, workdir.metrics, workdir.scores):
    path.unlink()
  shutil.rmtree(workdir.tokenizer)
  shutil.rmtree(workdir.checkpoints)
  report = task_report.make_report(workdir)
  notes = ' '.join(report.notes)
  for word in ('The tokenizer is gone', 'eval.json', 'metrics.jsonl'):
    assert word in notes
  assert report.unit == 'characters' and report.series == {}
  assert [one.name for one in report.sets] == ['test', 'validation']
  assert dict(report.facts)['Model'].startswith('1 layers')


def test_predictions_of_other_data_are_said(task_runs, tmp_path):
  folder = shutil.copytree(task_runs / 'a', tmp_path / 'run')
  config = json.loads((folder / 'config.json').read_text())
  files = config['task']['files']
  changed = tmp_path / 'test.jsonl'
  runs.write_examples(changed, 60, seed=9)
  config['task']['files'] = files | {'test': str(changed)}
  (folder / 'config.json').write_text(json.dumps(config))
  report = task_report.make_report(folder)
  assert any('60 of 60 predictions are of examples' in note for note in report.notes)


def test_an_average_of_steps_says_so(task_runs, tmp_path):
  average.average(task_runs / 'a', tmp_path / 'mean', steps=[40])
  report = task_report.make_report(tmp_path / 'mean')
  facts = dict(report.facts)
  assert facts['Averaged'] == 'steps 40' and 'Scored step' not in facts
  assert report.sets == [] and len(report.notes) == 2


def test_a_model_without_training_is_reported(task_runs, tmp_path):
  run = Workdir(task_runs / 'a')
  config = setup.resolve(run.read_config(), {'init_from': str(run)})
  scored = score_start.score_start(config, tmp_path)
  task = make_task(config)
  assert task is not None
  task_end.write_results(Workdir(tmp_path), 0, scored.results, task)
  report = task_report.make_report(tmp_path)
  facts = dict(report.facts)
  assert facts['Training'] == 'none' and facts['Scored step'] == '0'
  assert report.notes == []
  kept = json.loads(run.eval.read_text())
  assert {one.name: one.metrics for one in report.sets} == {
    name: pytest.approx(metrics) for name, metrics in kept.items() if name != 'step'
  }


def test_runs_without_a_task_have_no_such_report(plain_run, tmp_path):
  with pytest.raises(ConfigError, match='a run without a task'):
    task_report.make_report(plain_run)
  with pytest.raises(ConfigError, match='holds no run'):
    task_report.make_report(tmp_path)
