"""Spans as answers: windows, targets, the best span, scores, a training."""

import numpy as np
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import answer_scores
from gpt_jax.examples import splits
from gpt_jax.tasks import span_answers
from tests.tasks import small_tasks

CONTEXT = 'The café was built by Ada Byron in 1871, long ago.'
RECORD = small_tasks.record(
  id='1',
  context=CONTEXT,
  question='By whom?',
  answers=[{'text': 'Ada Byron', 'start': 22}],
)


def made(**overrides):
  overrides = {key.replace('__', '.'): value for key, value in overrides.items()}
  return small_tasks.made('qa', 'span_labels', overrides)


def answer_of(row):
  (first,), (last,) = (np.flatnonzero(row.fields[name]) for name in ('starts', 'ends'))
  return bytes(row.tokens[first : last + 1].astype(np.uint8)).decode()


def test_the_answer_is_what_bears_the_loss():
  task, encoder = made(data__seq_len=128)
  (row,) = task.encode(RECORD, encoder, True)
  assert answer_of(row) == 'Ada Byron'
  can = np.flatnonzero(row.fields['can_answer'])
  assert can[0] == 0
  assert bytes(row.tokens[can[1:]].astype(np.uint8)).decode() == CONTEXT
  assert set(row.fields) == set(task.fields)


def test_a_long_context_is_read_in_windows():
  task, encoder = made(
    data__seq_len=40, task__too_long='window', task__window_stride=12
  )
  rows = task.encode(RECORD, encoder, True)
  texts = []
  for row in rows:
    first, spans = row.note
    texts.append(CONTEXT[spans[0, 0] : spans[-1, 1]])
    assert len(row.tokens) <= 40
    has_answer = 'Ada Byron' in texts[-1]
    assert has_answer == (answer_of(row) == 'Ada Byron')
    if not has_answer:
      assert row.fields['starts'][0] == row.fields['ends'][0] == 1
  assert len(rows) > 2 and texts[0] == CONTEXT[: len(texts[0])]
  assert texts[-1] == CONTEXT[-len(texts[-1]) :]
  assert sum('Ada Byron' in text for text in texts) in (1, 2)


def test_a_question_that_is_cut_is_counted_once():
  for seq_len in (128, 40):
    task, encoder = made(data__seq_len=seq_len, task__options__max_question_tokens=3)
    (row,) = task.encode(RECORD, encoder, True)
    assert bytes(row.tokens[:3].astype(np.uint8)) == b'By '
    assert encoder.counts.truncated == encoder.counts.examples == 1


def test_the_best_span_is_that_of_all_spans():
  rng = np.random.default_rng(0)
  for T, longest in ((1, 3), (7, 3), (12, 30)):
    starts, ends = rng.normal(size=(2, T))
    everything = sorted(
      (
        (starts[i] + ends[j], i, j)
        for i in range(T)
        for j in range(i, min(T, i + longest))
      ),
      reverse=True,
    )
    found = span_answers.best_spans(starts, ends, longest, 5)
    assert [one[1:] for one in found] == [one[1:] for one in everything[:5]]
    np.testing.assert_allclose(
      [one[0] for one in found], [one[0] for one in everything[:5]]
    )


def outputs_of(rows, text, value=0.0, none=-9.0):
  """Returns outputs that point at a text where a window has it, else at none."""
  found = []
  for row in rows:
    first, spans = row.note
    arrays = {name: np.full(len(row.tokens) + 3, -9.0) for name in ('starts', 'ends')}
    start = CONTEXT.find(text)
    places = np.flatnonzero((spans[:, 0] >= start) & (spans[:, 1] <= start + len(text)))
    if len(places) == len(text.encode()):
      arrays['starts'][first + places[0]] = arrays['ends'][first + places[-1]] = value
    for values in arrays.values():
      values[0] = none
    found.append(arrays)
  return found


@pytest.mark.parametrize('text', ['café', 'Ada Byron', '1871, long'])
def test_the_best_window_gives_the_answer_and_its_place(text):
  task, encoder = made(
    data__seq_len=40, task__too_long='window', task__window_stride=12
  )
  rows = task.encode(RECORD, encoder, False)
  found = task.decode(RECORD, rows, outputs_of(rows, text))
  assert found['text'] == text == CONTEXT[found['start'] : found['end']]
  assert found['n_best'][0]['text'] == text
  probs = [one['probability'] for one in found['n_best']]
  assert probs == sorted(probs, reverse=True)
  assert sum(probs) == pytest.approx(1) and found['probability'] == probs[0]


def test_no_answer_is_given_above_the_threshold():
  task, encoder = made(
    data__seq_len=128,
    task__options__may_have_none=True,
    task__options__none_threshold=1.0,
  )
  rows = task.encode(RECORD, encoder, False)
  # The score is the sum over both ends: -2 against -1, then against -0.2.
  kept = task.decode(RECORD, rows, outputs_of(rows, 'café', value=-1.0, none=-0.5))
  assert kept['text'] == 'café' and kept['none_score'] == pytest.approx(1.0)
  left = task.decode(RECORD, rows, outputs_of(rows, 'café', value=-1.0, none=-0.1))
  assert left['text'] == '' and left['probability'] > 0.5
  plain, _ = made(data__seq_len=128)
  found = plain.decode(RECORD, rows, outputs_of(rows, 'café', value=-1.0, none=-0.1))
  assert found['text'] == 'café'


def test_spaces_at_the_ends_belong_to_no_answer():
  task, encoder = made(data__seq_len=128)
  rows = task.encode(RECORD, encoder, False)
  found = task.decode(RECORD, rows, outputs_of(rows, ' Ada Byron '))
  assert (found['text'], found['start'], found['end']) == ('Ada Byron', 22, 31)


def test_scores_are_those_of_squad_in_both_languages():
  task, _ = made()
  chinese = small_tasks.record(
    context='灯塔建于1871年。',
    question='何时？',
    answers=[{'text': '1871年', 'start': 4}],
  )
  for record, text in ((RECORD, 'the Ada Lovelace'), (chinese, '1872年')):
    found = task.score([record], [{'text': text}])
    language = found.details['language']
    expected = answer_scores.answer_scores(
      [[record.values['answers'][0]['text']]], [text], language
    )
    assert found.metrics == expected.metrics and 0 < found.metrics['f1'] < 1
  assert found.details['language'] == 'zh'
  baseline = task.baselines([], [RECORD])['nearest sentence']
  assert baseline[0]['text'] in CONTEXT


@pytest.mark.parametrize(
  'answers, message',
  [
    ('Ada', 'expected a list of'),
    ([{'text': 'Ada'}], 'expected a list of'),
    ([{'text': 'Ada', 'start': 3}], "not in the context at 3, where it has ' ca'"),
  ],
)
def test_bad_answers_are_refused(answers, message):
  task, _ = made()
  wrong = small_tasks.record(context=CONTEXT, question='Who?', answers=answers)
  with pytest.raises(DataError, match=f'line 1: .*{message}'):
    task.check(wrong)


def test_new_questions_have_no_gold_answer():
  task, encoder = made(data__seq_len=128)
  new = small_tasks.record(context=CONTEXT, question='Who?')
  task.check(new)
  assert task.gold(new) is None and len(task.encode(new, encoder, False)) == 1
  assert task.gold(small_tasks.record(answers=[])) == []


@pytest.mark.slow
@pytest.mark.parametrize('attention', ['bidirectional', 'causal'])
def test_answers_are_learned(attention, tmp_path):
  rng = np.random.default_rng(0)
  records = []
  for number in range(32):
    letters = rng.choice(list('abcdef'), 20)
    letters[rng.integers(20)] = 'X'
    context = ''.join(letters)
    answers = [{'text': 'X', 'start': context.index('X')}]
    records.append(dict(id=number, context=context, question='x?', answers=answers))
  path = small_tasks.write(tmp_path / 'a.jsonl', records)
  options = {
    'train.steps': 50, 'task.too_long': 'window', 'task.window_stride': 6,
    'data.seq_len': 16, 'objective.options.attention': attention,
  }  # fmt: skip
  metrics, predictions = small_tasks.train(
    'qa', 'span_labels', path, tmp_path / 'run', options
  )
  assert metrics['f1'] > 0.8 and metrics['exact_match'] > 0.8
  assert metrics['rows'] > 32 == len(predictions)
  assert predictions[0]['prediction']['n_best']


@pytest.mark.shared
@pytest.mark.parametrize('language', ['en', 'zh'])
def test_targets_of_real_questions_decode_to_their_answers(shared_data, language):
  path = shared_data / 'squad' / f'squad_v1.1_dev_subset.{language}.json'
  records = splits.load({'test': str(path)}, 'squad', {}, 'test', limit=80)
  task, encoder = made(
    data__seq_len=512,
    task__too_long='window',
    task__window_stride=128,
    task__options__max_answer_tokens=400,
    task__options__max_question_tokens=300,
  )
  predictions = []
  for record in records:
    task.check(record)
    rows = task.encode(record, encoder, True)
    # Certain of the targets: of windows without the answer, that they have none.
    outputs = [
      {name: np.where(row.fields[name] > 0, 0.0, -50.0) for name in ('starts', 'ends')}
      for row in rows
    ]
    predictions.append(task.decode(record, rows, outputs))
  scores = task.score(records, predictions)
  assert scores.metrics == dict(exact_match=1.0, f1=1.0)
  assert scores.details['language'] == language and encoder.counts.windowed > 20
