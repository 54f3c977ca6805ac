"""The page of a fine-tuned run: whole, offline, escaped, and complete."""

import dataclasses
import json
import re
import shutil

import pytest

from gpt_jax.evaluation.scores import Scores
from gpt_jax.plots import palette
from gpt_jax.reports import task_examples, task_page, task_report
from gpt_jax.workdir import files
from tests import task_runs as runs
from tests.reports.test_page import read

pytest.importorskip('sklearn', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra


@pytest.fixture(scope='module')
def copied(task_runs, tmp_path_factory):
  return shutil.copytree(task_runs / 'a', tmp_path_factory.mktemp('runs') / 'a')


@pytest.fixture(scope='module')
def html(copied):
  task_page.write(copied)
  return (copied / 'report.html').read_text()


@pytest.fixture(scope='module')
def text(html):
  return ' '.join(' '.join(read(html).text).split())


def test_the_page_needs_nothing_but_itself(html):
  reader = read(html)
  loaded = [
    (tag, value)
    for tag, name, value in reader.attributes
    if name in ('src', 'href') and not value.startswith(('#', 'data:'))
  ]
  assert loaded == [] and '://' not in html
  assert 'link' not in reader.tags and reader.tags.count('svg') == 5
  ids = [value for _, name, value in reader.attributes if name == 'id']
  assert len(ids) == len(set(ids))


def test_light_and_dark_have_all_colours(html):
  assert 'prefers-color-scheme:dark' in html
  for color in palette.DARK.values():
    assert color in html
  assert html.count('var(--c-') > 50


def test_texts_of_the_data_are_escaped(html, text):
  assert '<script>alert' not in html and html.count('<script>') == 1
  assert '<b>bad' not in html
  assert '<b>bad</b>' in text and '<script>alert(1)</script>' in text


def test_the_model_stands_beside_the_baselines(copied, text):
  saved = json.loads((copied / 'eval.json').read_text())
  kept = json.loads((copied / 'baselines.json').read_text())
  for name in ('validation', 'test'):
    assert f'{name}: accuracy {saved[name]["accuracy"]:.4f}' in text
    for method, metrics in kept[name].items():
      assert method in text and f'{metrics["macro_f1"]:.4f}' in text
  assert text.count('majority class') >= 2


@pytest.mark.parametrize(
  'part',
  [
    'Learning curves', 'Set validation', 'Set test', 'Per class', 'support',
    'By length of the input', 'Worst errors', 'Most frequent confusions',
    'confidence 0.', 'Labels', 'truncated of', 'also in train', 'calibration error',
    'gpt-jax', 'Scored step', 'documents',
  ],
)  # fmt: skip
def test_the_page_has_each_part(text, part):
  assert part in text


def test_figures_are_told_in_words(html):
  labels = [v for _, name, v in read(html).attributes if name == 'aria-label']
  assert any(label.startswith('Confusion matrix: ') for label in labels)
  assert any('validation' in label and 'Learning curves' in label for label in labels)


def test_baselines_that_win_are_said_to(copied):
  made = task_report.make_report(copied)
  one = made.sets[0]
  one.baselines['majority class'] = {'accuracy': 1.5}
  assert task_page._headline(made, one).endswith(
    'worse than the best baseline: majority class, 1.5000'
  )
  html = task_page.render(made)
  assert html.index('majority class') < html.index('this model')


def test_headlines_know_which_way_is_better(copied):
  made = task_report.make_report(copied)
  one = made.sets[0]
  one.metrics, one.baselines = {'accuracy': 2}, {'rule': {'accuracy': 1}}
  assert made.higher_is_better
  assert ', better than the best' in task_page._headline(made, one)
  checkpoint = dataclasses.replace(made.config.checkpoint, best_mode='min')
  made.config = dataclasses.replace(made.config, checkpoint=checkpoint)
  assert ', worse than the best' in task_page._headline(made, one)
  checkpoint = dataclasses.replace(checkpoint, best_metric='validation/loss')
  made.config = dataclasses.replace(made.config, checkpoint=checkpoint)
  assert made.metric == 'accuracy'  # the task's first
  assert ', better than the best' in task_page._headline(made, one)
  one.metrics = {'accuracy': 1}
  assert ', equal to the best' in task_page._headline(made, one)
  one.baselines = {}
  assert task_page._headline(made, one) == 'validation: accuracy 1'
  one.metrics = {}
  assert task_page._headline(made, one) == ''


def test_whatever_metrics_and_details_there_are_are_shown(copied):
  made = task_report.make_report(copied)
  one = made.sets[0]
  one.metrics = one.metrics | {'attacked_accuracy': 0.125, 'loss': float('nan')}
  one.details = {
    'per_type': [{'type': 'PER & co', 'f1': 0.5}],
    'signature': 'tok:13a',
    'precisions': [50.0, 25.0],
    'nothing': None,
  }
  shown = ' '.join(' '.join(read(task_page.render(made)).text).split())
  for part in (
    'attacked accuracy 0.1250', 'loss not finite', 'Per type', 'PER & co',
    'signature tok:13a', 'precisions [50.0, 25.0]', 'nothing –',
  ):  # fmt: skip
    assert part in shown


def test_a_page_without_data_says_so(copied, tmp_path):
  folder = shutil.copytree(copied, tmp_path / 'run')
  config = files.read_json(folder / 'config.json')
  config['task']['files'] = {'train': str(tmp_path / '<i>gone</i>.jsonl')}
  files.write_json(folder / 'config.json', config)
  out = tmp_path / 'page.html'
  assert task_page.write(folder, out) == out
  html = out.read_text()
  shown = ' '.join(' '.join(read(html).text).split())
  assert 'The data could not be read' in shown and '<i>gone' not in html
  assert 'Worst errors' in shown and 'Learning curves' in shown
  assert 'also in train' not in shown


@pytest.mark.parametrize(
  'answer, prediction, shown',
  [
    (['O', 'B-LOC'], {'tags': ['O', 'O']}, ('Rome/B-LOC', 'none', 'accuracy 0.5000')),
    (['O'], {'tags': ['O', 'B-X']}, ('O', 'Rome/B-X', 'accuracy 0.5000')),
    (3, {'value': 2.5}, ('3', '2.5000', 'off by 0.5000')),
    ('a', {'text': 'b'}, ('a', 'b', 'accuracy 0.5000')),
    ('chosen', {'preferred': 'rejected'}, ('chosen', 'rejected', '')),
    (['a', 'b'], {'text': 'c', 'probability': 0.25},
     ('a / b', 'c', 'confidence 0.250')),
  ],
)  # fmt: skip
def test_each_kind_of_error_can_be_read(copied, answer, prediction, shown):
  made = task_report.make_report(copied)
  worth = -0.5 if 'value' in prediction else 0.5
  one = task_examples.Example('p', 'in Rome', answer, prediction, worth=worth)
  found = task_page._shown(made, one)
  assert (found['answer'], found['said'], found['mark']) == shown


def test_long_texts_are_cut_and_places_lose_their_folders():
  assert task_page._cut('x' * 700) == 'x' * task_page.MAX_TEXT + ' …'
  assert task_page._place('/a/b/sst2/dev.tsv, line 12') == 'sst2/dev.tsv, line 12'
  assert task_page._place('row 3') == 'row 3'


def test_details_are_no_floats_only():
  grid = task_page.grid(('a_b', 'c'), [('x', 1), ('y', None)], 'note')
  assert grid.headers == ('a b', 'c') and grid.is_number == (False, True)
  assert grid.rows == (('x', '1'), ('y', '–'))
  assert task_page.number(True) == 'true' and task_page.number(12345) == '12,345'
  assert re.fullmatch(r'\["B-ü"\]', task_page.number(['B-ü']))
  assert Scores({}).details == {} and runs.LABELS[0] not in grid.rows
