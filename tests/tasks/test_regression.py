"""Numbers of texts and pairs: fields, scores, a training."""

import numpy as np
import pytest

from gpt_jax import cli
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation.regression_scores import regression_scores
from tests.tasks import small_tasks


def made(**fields):
  return small_tasks.made('regression', 'regression', fields)


def test_the_number_stands_at_the_end():
  task, encoder = made()
  one = small_tasks.record(text='a b', text_b='c', label='-2.5')
  (row,) = task.encode(one, encoder, True)
  assert bytes(row.tokens[:-1].astype(np.uint8)) == b'a b\nc'
  assert row.fields['labels'].tolist() == [-1] * 5 + [0]
  assert row.fields['numbers'].view(np.float32)[-1] == -2.5
  alone = small_tasks.record(text='a b', label=1)
  assert len(task.encode(alone, encoder, True)[0].tokens) == 4
  assert task.gold(small_tasks.record(text='a')) is None


def test_one_text_is_no_pair_where_pairs_were_learned():
  assert made()[0].values_of('a') == {'text': 'a'}
  task, _ = made(**{'task.columns': {'text': 'a', 'text_b': 'b', 'label': 'c'}})
  with pytest.raises(DataError, match='reads text, text_b, .*--input=FILE'):
    task.values_of('a')


def test_windows_of_a_text_are_averaged():
  task, _ = made()
  outputs = [{'outputs': np.array([1.0])}, {'outputs': np.array([2.0])}]
  assert task.decode(None, [], outputs) == {'value': 1.5}


def test_scores_are_correlations():
  task, _ = made()
  gold, found = [1.0, 2.0, 4.0], [1.5, 1.0, 9.0]
  records = [small_tasks.record(text='a', label=label) for label in gold]
  scores = task.score(records, [{'value': value} for value in found])
  assert scores.metrics == regression_scores(gold, found).metrics
  assert {*scores.metrics} == {*task.metrics}
  baseline = task.baselines(records, records[:1])
  assert baseline == {'mean of the training split': [{'value': pytest.approx(7 / 3)}]}


@pytest.mark.parametrize('label', ['high', 'nan', [1]])
def test_labels_that_are_no_numbers_are_refused(label):
  task, _ = made()
  with pytest.raises(DataError, match='line 1: label=.*expected a finite number'):
    task.check(small_tasks.record(text='a', label=label))


@pytest.mark.slow
def test_a_run_goes_on_where_nothing_can_correlate(tmp_path, capsys):
  records = [dict(text=text, label=2) for text in ('a', 'b', 'ab')]
  path = small_tasks.write(tmp_path / 'a.jsonl', records)
  watched = 'validation/pearson'
  options = {
    'train.steps': 3, 'eval.every_steps': 1, 'checkpoint.every_steps': 1,
    'checkpoint.keep_best': 1, 'checkpoint.best_metric': watched,
    'checkpoint.best_mode': 'max', 'early_stopping.metric': watched,
    'early_stopping.mode': 'max', 'early_stopping.patience': 3,
  }  # fmt: skip
  metrics, _ = small_tasks.train(
    'regression', 'regression', path, tmp_path / 'run', options
  )
  assert metrics['pearson'] is metrics['spearman'] is None
  said = capsys.readouterr().err
  text = 'pearson, spearman not defined: all labels are 2, with which nothing'
  assert said.count(f'validation: {text}') == said.count(f'test: {text}') == 1
  cli.main(['eval', f'--workdir={tmp_path / "run"}', '--baselines'])
  shown = capsys.readouterr().out
  assert 'nan' not in shown
  assert any(line.split()[:2] == ['pearson', '-'] for line in shown.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize('attention', ['bidirectional', 'causal'])
def test_a_count_of_letters_is_learned(attention, tmp_path):
  rng = np.random.default_rng(0)
  texts = [''.join(rng.choice(list('ab'), 8)) for _ in range(64)]
  records = [dict(text=text, label=text.count('a') / 2) for text in texts]
  path = small_tasks.write(tmp_path / 'a.jsonl', records)
  options = {
    'train.steps': 80, 'objective.options.attention': attention,
    'objective.options.pooling': 'mean',
  }  # fmt: skip
  metrics, predictions = small_tasks.train(
    'regression', 'regression', path, tmp_path / 'run', options
  )
  assert metrics['pearson'] > 0.9
  assert metrics['mse'] == pytest.approx(metrics['loss'], rel=1e-4)
  assert isinstance(predictions[0]['prediction']['value'], float)
