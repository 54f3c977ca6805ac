"""Prompts and targets: what bears the loss, what gives way, how texts are asked for."""

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.tasks import seq2seq
from gpt_jax.tasks.encoding import Counts
from tests import tiny_runs
from tests.tasks import text_tasks

BYTES = ByteTokenizer()
PAIR = {'source': 'abc', 'targets': ['xyz', 'other']}
SHORT = {'task.options.template': '{source} =', 'task.options.max_new_tokens': 4}


def test_the_first_target_and_the_end_token_bear_the_loss():
  task = text_tasks.task_of('translation')
  (row,), _ = text_tasks.rows_of(task, PAIR)
  assert text_tasks.shown(row.tokens, BYTES) == 'English: abc\nGerman: xyz[END]'
  assert text_tasks.with_loss(row, BYTES) == ' xyz[END]'


def test_a_record_without_target_is_a_prompt_without_loss():
  task = text_tasks.task_of('translation', SHORT)
  (row,), _ = text_tasks.rows_of(task, {'source': 'abc'})
  assert text_tasks.shown(row.tokens, BYTES) == 'abc ='
  assert not row.fields['loss_mask'].any()
  assert task.gold(Record({'source': 'abc'}, '')) is None


def test_space_at_the_end_of_a_prompt_belongs_to_the_target():
  options = {
    'task.options.template': '{source}\n=> ',
    'task.options.target': '{targets}',
  }
  task = text_tasks.task_of('translation', options)
  (row,), _ = text_tasks.rows_of(task, PAIR)
  assert text_tasks.with_loss(row, BYTES) == ' xyz[END]'
  echo = text_tasks.Echo()
  task.answer(echo, [Record(PAIR, '')])
  assert echo.asked == ['abc\n=>']


def test_a_begin_token_comes_first():
  task = text_tasks.task_of(
    'translation', SHORT | {'data.begin_token': '<|endoftext|>'}
  )
  (row,), _ = text_tasks.rows_of(task, PAIR)
  assert text_tasks.shown(row.tokens, BYTES) == '[END]abc = xyz[END]'
  assert text_tasks.with_loss(row, BYTES) == ' xyz[END]'


@pytest.mark.parametrize(
  'too_long, kept', [('truncate', 'abcdefgh'), ('truncate_left', 'mnopqrst')]
)
def test_the_source_gives_way_and_the_target_stays_whole(too_long, kept):
  source = 'abcdefghijklmnopqrst'
  settings = SHORT | {'data.seq_len': 16, 'task.too_long': too_long}
  task = text_tasks.task_of('translation', settings)
  (row,), encoder = text_tasks.rows_of(task, {'source': source, 'targets': ['wxyz']})
  assert text_tasks.shown(row.tokens, BYTES) == f'{kept} = wxyz[END]'
  assert encoder.counts.truncated == 1
  # What is asked has room for max_new_tokens, and is cut in the same way.
  echo = text_tasks.Echo()
  task.answer(echo, [Record({'source': source}, '')])
  assert echo.asked == [f'{source[:10] if too_long == "truncate" else source[-10:]} =']


@pytest.mark.parametrize('too_long', ['truncate', 'drop'])
def test_long_sources_are_counted_in_writing(too_long):
  settings = SHORT | {'data.seq_len': 16, 'task.too_long': too_long}
  task = text_tasks.task_of('translation', settings)
  echo, counts = text_tasks.Echo(), Counts()
  records = [Record({'source': 'a' * count}, '') for count in (11, 10, 99)]
  found = task.answer(echo, records, counts=counts)
  assert found[1] == {'text': 'a' * 10 + ' ='} and counts.examples == 3
  if too_long == 'truncate':
    assert (counts.truncated, counts.dropped) == (2, 0)
    assert found[0] == found[2] == found[1]
  else:
    assert (counts.truncated, counts.dropped) == (0, 2)
    assert found[0] is found[2] is None and len(echo.asked) == 1
    assert task.unanswered(records[0]) == {'text': ''}


def test_a_target_beyond_its_share_is_cut_too():
  settings = SHORT | {'data.seq_len': 21, 'task.options.target_share': 0.5}
  task = text_tasks.task_of('translation', settings)
  values = {'source': 'a' * 30, 'targets': ['z' * 30]}
  (row,), _ = text_tasks.rows_of(task, values)
  assert len(row.tokens) == 20  # without the end token: it is not the target's end
  assert text_tasks.with_loss(row, BYTES) == ' ' + 'z' * 9
  # A short source leaves it more than its share.
  (row,), _ = text_tasks.rows_of(task, values | {'source': 'a'})
  assert text_tasks.with_loss(row, BYTES) == ' ' + 'z' * 16
  # One that fits has its end.
  (row,), _ = text_tasks.rows_of(task, values | {'targets': ['z' * 9]})
  assert text_tasks.with_loss(row, BYTES) == ' ' + 'z' * 9 + '[END]'


def test_examples_may_be_left_out_and_templates_too_long():
  settings = SHORT | {'data.seq_len': 16, 'task.too_long': 'drop'}
  task = text_tasks.task_of('translation', settings)
  rows, encoder = text_tasks.rows_of(task, {'source': 'a' * 30, 'targets': ['b']})
  assert rows == [] and encoder.counts.dropped == 1
  long = {'data.seq_len': 16, 'task.options.max_new_tokens': 4}
  with pytest.raises(ConfigError, match='seq_len=16: template and target leave no'):
    text_tasks.rows_of(text_tasks.task_of('translation', long), PAIR)


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'task.options.template': 'translate-en-dee'}, "did you mean 'translate-en-de'"),
    ({'task.options.template': '{sauce}'}, '{sauce} is no field'),
    ({'task.options.template': 'now {targets}'}, 'has no {source}'),
    (
      {'task.too_long': 'window'},
      'task.too_long=window: a text that is written follows',
    ),
    ({'task.options.max_new_tokens': 64}, 'leaves no token of data.seq_len=64'),
    ({'objective.name': 'masked_lm'}, 'trains with causal_lm or prefix_lm'),
  ],
)
def test_what_cannot_be_asked_is_told(settings, message):
  with pytest.raises(ConfigError) as error:
    text_tasks.config('translation', settings)
  assert message in str(error.value)


def test_bad_records_name_their_place_and_a_tokenizer_its_end():
  task = text_tasks.task_of('translation')
  with pytest.raises(DataError, match="line 3: has no 'source'.*task.columns"):
    task.check(Record({'text': 'a'}, 'a.tsv, line 3'))
  with pytest.raises(DataError, match="line 3: targets='b': expected a list"):
    task.check(Record({'source': 'a', 'targets': 'b'}, 'a.tsv, line 3'))

  class Endless(ByteTokenizer):
    eos_id = None

  with pytest.raises(ConfigError, match='no end token'):
    text_tasks.rows_of(task, PAIR, Endless())


def test_a_tokenizer_learns_from_both_sides():
  task = text_tasks.task_of('translation')
  assert task.texts(Record(PAIR, '')) == ['abc', 'xyz', 'other']


def test_options_have_a_template_each():
  options = text_tasks.config('summarization').task.options
  assert seq2seq.template_of(options).name == 'summarize-article-en'
  assert seq2seq.template_of(options).target == ' {targets}'


def copies(seed, count):
  """Returns examples whose target is the source's last letter."""
  rng = np.random.default_rng(seed)
  sources = [''.join(rng.choice(list('abcd'), 3)) for _ in range(count)]
  return [{'source': source, 'targets': [source[-1]]} for source in sources]


@pytest.mark.extra
@pytest.mark.slow
@pytest.mark.parametrize('objective', ['causal_lm', 'prefix_lm'])
def test_a_tiny_model_learns_to_write_its_targets(objective, tmp_path):
  pytest.importorskip('sacrebleu', reason='sacrebleu is missing: pip install sacrebleu')
  files = {
    split: text_tasks.write_jsonl(tmp_path / f'{split}.jsonl', copies(seed, count))
    for seed, (split, count) in enumerate(
      {'train': 400, 'validation': 20, 'test': 20}.items()
    )
  }
  settings = tiny_runs.tiny_config(
    text_tasks.SMALL
    | SHORT
    | {
      'task.name': 'translation',
      'task.files': files,
      'task.options.tokenize': 'char',
      'objective.name': objective,
      'data.seq_len': 16,
      'train.steps': 150,
      'eval.every_steps': 75,
      'checkpoint.every_steps': 75,
    }
  )
  scores, lines = text_tasks.train(settings, tmp_path / 'run')
  assert scores['test']['loss'] < 0.2
  right = [line['prediction']['text'] == line['answer'][0] for line in lines]
  assert np.mean(right) > 0.9
  assert lines[0]['input'] in {one['source'] for one in copies(2, 20)}
  assert {'bleu', 'chrf'} <= scores['validation'].keys()


def test_the_target_may_not_stand_in_the_prompt():
  with pytest.raises(ConfigError, match=r'\{targets\} in the prompt gives the answer'):
    text_tasks.task_of('translation', {'task.options.template': '{source} = {targets}'})
