"""Examples of a task: checked, counted, and divided as the config says."""

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.program import task_data
from tests import tiny_runs
from tests.tasks import text_tasks, tiny_tasks

LINES = ['good day\tyes', 'bad day\tno', 'good night\tyes', 'so so\tmaybe']


@pytest.fixture
def files(tmp_path):
  (tmp_path / 'train.tsv').write_text('\n'.join(LINES) + '\n')
  (tmp_path / 'dev.tsv').write_text('GOOD  day\tyes\nrain\tno\n')
  return {'train': str(tmp_path / 'train.tsv'), 'validation': str(tmp_path / 'dev.tsv')}


def config(files, **overrides):
  settings = {
    'task.files': files,
    'task.columns': {'text': '0', 'label': '1'},
    'train.batch_size': 4,
  }
  settings |= {key.replace('__', '.'): value for key, value in overrides.items()}
  return tiny_tasks.config('classification', 'class_labels', settings)


def test_labels_are_those_of_training_in_alphabetic_order(files):
  completed = task_data.complete(config(files))
  assert completed.task.label_names == ('maybe', 'no', 'yes')
  assert completed.objective.options.num_labels == 3


def test_labels_that_are_named_keep_their_order(files):
  names = ('yes', 'no', 'maybe', 'never')
  completed = task_data.complete(config(files, task__label_names=names))
  assert completed.task.label_names == names
  assert completed.objective.options.num_labels == 4


def test_spaces_around_a_label_make_no_class(files, tmp_path):
  (tmp_path / 'train.tsv').write_text('\n'.join([*LINES, 'fine\t yes ']) + '\n')
  assert task_data.complete(config(files)).task.label_names == ('maybe', 'no', 'yes')


def test_a_header_among_the_examples_is_suspected(files, tmp_path, capsys):
  lines = ['text\tlabel', *LINES[:3] * 6]
  (tmp_path / 'train.tsv').write_text('\n'.join(lines) + '\n')
  task_data.complete(config(files))
  said = capsys.readouterr().err
  assert "of 3 classes 1 have one example: 'label' (" in said
  assert 'train.tsv, line 1)' in said and 'tsv_header' in said


def test_an_unknown_label_names_file_and_line(files):
  asked = task_data.complete(config(files, task__label_names=('yes', 'no')))
  with pytest.raises(
    DataError, match=r"train.tsv, line 4: label='maybe': expected one"
  ):
    task_data.open_training_data(asked, ByteTokenizer())


def test_a_metric_that_three_classes_lack_is_refused(files):
  best = {'checkpoint__best_metric': 'validation/f1', 'checkpoint__keep_best': 1}
  asked = config(files, **best, checkpoint__best_mode='max')
  with pytest.raises(ConfigError, match=r"checkpoint.best_metric='validation/f1'"):
    task_data.complete(asked)


def test_a_watched_set_that_is_none_is_refused_at_once(files):
  with pytest.raises(ConfigError, match='SET one of validation'):
    config(
      files, early_stopping__metric='dev/accuracy', early_stopping__mode='max',
      early_stopping__patience=2,
    )  # fmt: skip


def test_what_both_splits_share_is_said(files, capsys):
  completed = task_data.complete(config(files))
  sets = task_data.open_eval_sets(completed, ByteTokenizer())
  assert len(sets['validation']) == 2
  said = capsys.readouterr().err
  assert 'validation: 1 of 2 examples is also in train (50.0 %)' in said


def test_what_members_and_the_test_share_is_said(files, tmp_path, capsys):
  paths = {
    name: tmp_path / f'{name}.tsv' for name in ('test', 'old_train', 'old_validation')
  }
  paths['test'].write_text('Rain\tno\nsnow\tno\nhail\tno\nso so\tmaybe\n')
  paths['old_train'].write_text('snow \tno\nRAIN\tyes\n')
  paths['old_validation'].write_text('bad day\tno\nsnow\tno\nhail\tno\nfog\tno\n')
  old = {split: str(paths[f'old_{split}']) for split in ('train', 'validation')}
  asked = config(
    files | {'test': str(paths['test'])}, task__mixture={'old': {'files': old}}
  )
  task_data.open_eval_sets(task_data.complete(asked), ByteTokenizer())
  said = capsys.readouterr().err.splitlines()
  assert [line.partition(' (')[0] for line in said if 'also in' in line] == [
    'validation: 2 of 2 examples are also in train',
    'old: 2 of 4 examples are also in train',
    'test: 3 of 4 examples are also in train',
    'test: 1 of 4 examples is also in validation',
    'test: 2 of 4 examples are also in old',
  ]


def test_held_out_examples_can_be_bounded(files):
  bounded = config(files, task__max_eval_examples=1)
  sets = task_data.open_eval_sets(task_data.complete(bounded), ByteTokenizer())
  assert len(sets['validation']) == 1
  assert len(task_data.records_of(bounded, 'train')) == len(LINES)


def test_a_split_without_files_is_named(files):
  del files['validation']
  completed = task_data.complete(config(files))
  with pytest.raises(ConfigError, match="eval.sets.validation: task.files has no 'val"):
    task_data.open_eval_sets(completed, ByteTokenizer())


def test_long_examples_are_counted_and_said(files, capsys):
  settings = dict(data__seq_len=8, task__too_long='drop')
  completed = task_data.complete(config(files, **settings))
  data = task_data.open_training_data(completed, ByteTokenizer())
  assert len(data.rows) == 2
  assert 'train: 2 dropped of 4 examples' in capsys.readouterr().err


def test_other_data_or_tokens_change_the_fingerprint(files, tmp_path):
  completed = task_data.complete(config(files))
  one = task_data.open_training_data(completed, ByteTokenizer()).fingerprint
  again = task_data.open_training_data(completed, ByteTokenizer()).fingerprint
  assert one == again
  (tmp_path / 'train.tsv').write_text('\n'.join(LINES).replace('good', 'fine') + '\n')
  other = task_data.open_training_data(completed, ByteTokenizer()).fingerprint
  assert other != one


def test_other_synonyms_change_the_fingerprint(files, tmp_path):
  table = tmp_path / 'synonyms.tsv'
  settings = dict(
    task__augmentation__synonyms=0.5, task__augmentation__table=str(table)
  )
  completed = task_data.complete(config(files, **settings))
  found = []
  for text in ('good\tfine\n', 'good\tfine\n', 'good\tnice\n'):
    table.write_text(text)
    data = task_data.open_training_data(completed, ByteTokenizer())
    found.append(data.fingerprint)
  assert found[0] == found[1] != found[2]
  table.unlink()  # evaluation reads no synonyms
  assert task_data.open_eval_sets(completed, ByteTokenizer())


@pytest.mark.parametrize(
  ('overrides', 'message'),
  [
    ({'task__files': {}}, 'task.files={}: expected files of the examples'),
    ({'objective__name': 'causal_lm'}, "trains with class_labels"),
    ({'task__files': {'train': 3}}, 'task.files.train=3: expected the path'),
  ],
)  # fmt: skip
def test_fields_that_cannot_be_are_refused(files, overrides, message):
  with pytest.raises(ConfigError, match=message):
    config(files, **overrides)


@pytest.mark.parametrize('split', ['train', 'validation', 'test'])
@pytest.mark.parametrize('names', [(), ('no', 'yes')])
def test_examples_without_an_answer_are_refused(tmp_path, split, names):
  lines = [{'text': 'good', 'label': 'yes'}, {'text': 'bad', 'label': 'no'}]
  paths = {
    name: tiny_tasks.write_jsonl(
      tmp_path / f'{name}.jsonl', lines + [{'text': 'so'}] * (name == split)
    )
    for name in ('train', 'validation', 'test')
  }
  asked = config(paths, task__columns={}, task__label_names=names)
  message = rf"{split}.jsonl, line 3: has no 'label', .*task.columns=\{{'label': ...\}}"
  with pytest.raises(DataError, match=message):
    completed = task_data.complete(asked)
    task_data.open_training_data(completed, ByteTokenizer())
    task_data.open_eval_sets(completed, ByteTokenizer())


@pytest.mark.parametrize(
  ('name', 'objective', 'values', 'target'),
  [
    ('ner', 'token_labels', {'words': ['a', 'b']}, 'tags'),
    ('regression', 'regression', {'text': 'a'}, 'label'),
    ('qa', 'span_labels', {'context': 'a b', 'question': 'c'}, 'answers'),
    ('generative_qa', 'causal_lm', {'context': 'a b', 'question': 'c'}, 'answers'),
    ('choice', 'causal_lm', {'prompt': 'a', 'choices': ['b', 'c']}, 'label'),
    ('summarization', 'causal_lm', {'source': 'a'}, 'targets'),
  ],
)
def test_the_answer_of_each_task_is_required(tmp_path, name, objective, values, target):
  path = tiny_tasks.write_jsonl(tmp_path / 'a.jsonl', [values])
  picks = {'task.files': {'train': path}, 'task.label_names': ('O',) * (name == 'ner')}
  if objective == 'causal_lm':
    picks |= {'task.name': name, 'objective.name': objective}
    settings = {
      key: value
      for key, value in tiny_tasks.SMALL.items()
      if key != 'objective.options.attention'
    }
    made = tiny_runs.tiny_config(settings | picks)
  else:
    made = tiny_tasks.config(name, objective, picks)
  with pytest.raises(DataError, match=f'a.jsonl, line 1: has no {target!r}'):
    task_data.records_of(made, 'train')


def test_texts_alone_and_last_questions_train(tmp_path):
  text = tiny_tasks.write_jsonl(tmp_path / 'a.jsonl', [{'text': 'a b'}])
  turns = [('user', 'a'), ('assistant', 'b'), ('user', 'c')]
  messages = [{'role': role, 'content': content} for role, content in turns]
  talk = tiny_tasks.write_jsonl(tmp_path / 'b.jsonl', [{'messages': messages}])
  for name, path in (('generation', text), ('dialogue', talk)):
    files = {'train': path, 'validation': path}
    made = text_tasks.config(name, {'task.files': files})
    assert len(task_data.records_of(made, 'train')) == 1
    if name == 'dialogue':
      message = "line 1: has no reply: the last of its 'messages' is of role 'user'"
      with pytest.raises(DataError, match=message) as refused:
        task_data.records_of(made, 'validation')
      assert 'columns' not in str(refused.value)


@pytest.mark.parametrize('names', [(), ('no', 'yes')])
def test_training_examples_of_one_label_are_refused(files, tmp_path, names):
  (tmp_path / 'train.tsv').write_text('good day\tyes\ngood night\tyes\n')
  with pytest.raises(DataError, match="'train' have the same label, 'yes'"):
    completed = task_data.complete(config(files, task__label_names=names))
    task_data.open_training_data(completed, ByteTokenizer())


@pytest.mark.parametrize(
  ('test', 'reader', 'columns', 'message'),
  [
    ('day\t-1\n', 'tsv', ('0', '1'), r"test.tsv, line 1: label='-1': expected one of"),
    ('day\n', 'tsv', ('0', '1'), r"label='1': .*test.tsv, line 1 has no such column"),
    (
      'text\nday\n',
      'tsv_header',
      ('text', 'label'),
      r"label='label': .*test.tsv, line",
    ),
    ('{"text": "day"}\n', 'jsonl', (), r"test.tsv, line 1: has no 'label'"),
  ],
)
@pytest.mark.parametrize('name', ['classification', 'prompt_classification'])
def test_a_test_file_without_answers_is_for_predict(
  tmp_path, test, reader, columns, message, name
):
  lines = ['good day\tyes', 'bad day\tno']
  if reader == 'tsv_header':
    lines = ['text\tlabel', *lines]
  elif reader == 'jsonl':
    lines = ['{"text": "good day", "label": "yes"}', '{"text": "b", "label": "no"}']
  (tmp_path / 'train.tsv').write_text('\n'.join(lines) + '\n')
  (tmp_path / 'test.tsv').write_text(test)
  files = {split: str(tmp_path / f'{split}.tsv') for split in ('train', 'test')}
  given = {
    'task.files': files, 'task.reader': reader, 'eval.sets': {},
    'task.columns': dict(zip(('text', 'label'), columns, strict=False)),
  }  # fmt: skip
  if name == 'classification':
    made = tiny_tasks.config(name, 'class_labels', given)
  else:
    words = {'task.options.verbalizers': ('yes=good', 'no=bad')}
    made = text_tasks.config(name, given | words)
  completed = task_data.complete(made)
  with pytest.raises(DataError, match=message) as refused:
    task_data.open_test_set(completed, ByteTokenizer())
  advice = 'leave it out of task.files, and give it to `gpt-jax predict --input=FILE`'
  assert advice in str(refused.value)


def test_training_keeps_no_records(files):
  completed = task_data.complete(config(files))
  assert task_data.open_training_data(completed, ByteTokenizer()).records == []
  (held_out,) = task_data.open_eval_sets(completed, ByteTokenizer()).values()
  assert len(held_out.records) == 2
