"""task.mixture: several sets of examples in one training, and what is forgotten."""

import json

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.program import task_data, task_members
from gpt_jax.train import loop
from tests.tasks import tiny_tasks


def files(folder, name, words, count):
  examples = [
    {'text': f'{words[i % 2]} {"ab"[i // 2 % 2]}', 'label': ['no', 'yes'][i % 2]}
    for i in range(count)
  ]
  path = tiny_tasks.write_jsonl(folder / f'{name}.jsonl', examples)
  return {'train': path, 'validation': path}


def config(folder, member=None, **overrides):
  settings = {
    'task.files': files(folder, 'new', ('bad', 'good'), 24),
    'task.mixture': {
      'old': {'files': files(folder, 'old', ('sad', 'fine'), 8)} | (member or {})
    },
    'task.label_names': ('no', 'yes'),
    'checkpoint.best_metric': 'validation/accuracy',
    'checkpoint.best_mode': 'max',
  }
  settings |= {key.replace('__', '.'): value for key, value in overrides.items()}
  return tiny_tasks.config('classification', 'class_labels', settings)


def test_members_have_the_fields_of_the_task_but_their_own(tmp_path):
  found = task_members.members(config(tmp_path, {'max_examples': 5, 'share': 0.25}))
  (own, _), (old, share) = found.values()
  assert list(found) == ['', 'old']
  assert (old.task.max_examples, own.task.max_examples, share) == (5, None, 0.25)
  assert old.task.label_names == own.task.label_names
  assert old.task.files != own.task.files


def test_training_rows_are_those_of_all_members(tmp_path, capsys):
  made = config(tmp_path, {'share': 0.5}, train__batch_size=8)
  data = task_data.open_training_data(made, ByteTokenizer())
  assert len(data.rows) == len(data) == 32
  numbers = [data.number(n) for n in range(32)]
  assert sum(number >= 24 for number in numbers) == 16
  assert 'classification 24 rows 50.0%, old 8 rows 50.0%' in capsys.readouterr().err


def test_labels_of_all_members_are_known_together(tmp_path):
  extra = tiny_tasks.write_jsonl(
    tmp_path / 'extra.jsonl', [{'text': 'so', 'label': 'maybe'}]
  )
  member = {'files': {'train': extra}}
  completed = task_data.complete(config(tmp_path, member, task__label_names=()))
  assert completed.task.label_names == ('maybe', 'no', 'yes')


@pytest.mark.slow
def test_forgetting_is_measured_against_the_start(tmp_path):
  pytest.importorskip('sklearn', reason='scores of classes need scikit-learn')
  settings = dict(train__steps=20, eval__every_steps=10, checkpoint__every_steps=10)
  made = config(tmp_path, eval__at_start=True, **settings)
  loop.train(made, tmp_path / 'run', quiet=True)
  found = json.loads((tmp_path / 'run' / 'eval.json').read_text())
  lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
  first = next(one for one in map(json.loads, lines) if 'old/accuracy' in one)
  assert first['step'] == 0
  lost = first['old/accuracy'] - found['old']['accuracy']
  assert found['old']['forgetting'] == pytest.approx(lost)
  assert 'forgetting' not in found['validation']


@pytest.mark.parametrize(
  ('member', 'message'),
  [
    ({'fils': {}}, "task.mixture.old.fils: unknown key; did you mean 'files'"),
    ({'share': 1.5}, 'task.mixture.old.share=1.5: expected a number between'),
    ({'too_long': 'cut'}, 'task.mixture.old.too_long'),
  ],
)
def test_fields_of_members_that_cannot_be_are_refused(tmp_path, member, message):
  with pytest.raises(ConfigError, match=message):
    config(tmp_path, member)


def test_members_train_with_the_objective_of_the_run(tmp_path):
  message = r"objective.name='class_labels': task.mixture.old.name='regression' trains"
  with pytest.raises(ConfigError, match=message):
    config(tmp_path, {'name': 'regression', 'label_names': ()})
