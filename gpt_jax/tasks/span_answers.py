"""Questions about a text whose answers are spans of it: SQuAD 1.1 and 2.0.

BERT, arXiv:1810.04805, sections 4.2 and 4.3. A text that is longer than a row is read
in windows (task.too_long='window'); the best span of all of them is the answer.
"""

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import DataError
from gpt_jax.core.sections import between, one_of, section
from gpt_jax.tasks.answers import QuestionTask, check_answers
from gpt_jax.tasks.task import Row


@section
class SpanAnswerOptions:
  """`task.options` of qa.

  may_have_none: questions may have no answer (SQuAD 2.0): '' where the log-probability
  of none is above that of the best span by more than none_threshold.
  """

  max_question_tokens: int = between(1, 2**20, default=64)
  max_answer_tokens: int = between(1, 2**20, default=30)
  n_best: int = between(1, 1000, default=5)
  may_have_none: bool = False
  none_threshold: float = 0.0
  language: str = one_of('auto', 'en', 'zh', default='auto')


class SpanAnswers(QuestionTask):
  """A task head with two outputs at each token; objective span_labels.

  A prediction has the `text` of the answer, where it starts and ends in the context
  (characters), its probability among the n best, these, `none_score`, how far the
  log-probability of no answer is above that of the best span, and `log_prob`, that of
  the best span among all of its window: it compares answers in several contexts.
  """

  name = 'qa'
  inputs = ('context', 'question')
  target = 'answers'
  objectives = ('span_labels',)
  fields = ('can_answer', 'starts', 'ends', 'token_types')
  metrics = (
    'f1', 'exact_match', 'answerable_f1', 'answerable_exact_match',
    'unanswerable_accuracy',
  )  # fmt: skip

  def check(self, record):
    super().check(record)
    check_answers(record)
    for answer in record.values.get('answers') or ():
      found = record.values['context'][answer['start'] :][: len(answer['text'])]
      if found != answer['text']:
        raise DataError(
          f'{record.place}: answer {answer["text"]!r} is not in the context at'
          f' {answer["start"]}, where it has {found!r}; correct its start (characters).'
        )

  def encode(self, record, encoder, is_training):
    del is_training
    options = self.cfg.options
    question = encoder.ids(self.text_of(record, 'question'))
    context = self.text_of(record, 'context')
    ((ids, spans),) = encoder.tokenizer.encode_with_offsets([context])
    answer = _tokens_of_answer(record, spans)
    # Windows of the numbers of the tokens, which say where in the text they stand.
    truncated = encoder.counts.truncated
    versions = encoder.fit(
      [question[: options.max_question_tokens], range(len(ids))], may_shrink=(1,)
    )
    if versions and len(question) > options.max_question_tokens:
      encoder.counts.truncated = truncated + 1  # once, whichever part is cut
    return [
      _row(encoder, question, np.array(numbers, int), ids, spans, answer)
      for question, numbers in versions
    ]

  def decode(self, record, rows, outputs):
    options, context = self.cfg.options, record.values['context']
    scores, none_scores = {}, []
    for row, arrays in zip(rows, outputs, strict=True):
      first, spans = row.note
      part = slice(first, first + len(spans))
      starts, ends = (np.asarray(arrays[name], float) for name in ('starts', 'ends'))
      none_scores.append(float(starts[0] + ends[0]))
      found = best_spans(
        starts[part], ends[part], options.max_answer_tokens, options.n_best
      )
      for score, i, j in found:
        span = _stripped(context, spans[i, 0], spans[j, 1])
        scores[span] = max(score, scores.get(span, -np.inf))
    best = sorted(scores.items(), key=lambda one: -one[1])[: options.n_best]
    return self._prediction(context, best, min(none_scores))

  def _prediction(self, context, best, none):
    # None has the score of the window that is surest of an answer: all have to agree.
    options = self.cfg.options
    score = best[0][1] if best else -np.inf
    logits = [value for _, value in best] + [none] * options.may_have_none
    probs = np.exp(np.array(logits) - np.logaddexp.reduce(logits))
    n_best = [
      dict(text=context[start:end], start=start, end=end, probability=float(prob))
      for ((start, end), _), prob in zip(best, probs, strict=False)
    ]
    has_none = not best or (
      options.may_have_none and none - score > options.none_threshold
    )
    if has_none:
      chance = float(probs[-1]) if options.may_have_none else 1.0
      chosen = dict(text='', start=0, end=0, probability=chance)
    else:
      chosen = dict(n_best[0])
    none_score, log_prob = (none - score, score) if best else (None, None)
    return chosen | dict(n_best=n_best, none_score=none_score, log_prob=log_prob)


@registry.entry(options=SpanAnswerOptions)
def make(config):
  """Returns the task of a Config: a span of a context as answer to a question."""
  return SpanAnswers(config)


def best_spans(starts_T, ends_T, longest, count):
  """Returns [(score, first, last)] of the `count` best spans, the best first.

  The score is the sum of the log-probabilities of both ends; a span has at most
  `longest` tokens, and all of them are compared.
  """
  T = len(starts_T)
  scores_LT = np.full((min(longest, T), T), -np.inf)  # by length - 1 and first token
  for more in range(len(scores_LT)):
    scores_LT[more, : T - more] = starts_T[: T - more] + ends_T[more:]
  flat = scores_LT.ravel()
  if len(flat) > count:
    likely = np.argpartition(-flat, count - 1)[:count]
  else:
    likely = np.arange(len(flat))
  found = [(float(flat[n]), n % T, n // T) for n in map(int, likely)]
  found = [one for one in found if one[0] > -np.inf]
  found.sort(key=lambda one: (-one[0], *one[1:]))
  return [(score, first, first + more) for score, first, more in found]


def _tokens_of_answer(record, spans):
  """Returns (first, last) of the tokens of the first answer; None without any."""
  answers = record.values.get('answers')
  if not answers:
    return None
  start = answers[0]['start']
  end = start + len(answers[0]['text'])
  (touching,) = np.nonzero((spans[:, 0] < end) & (spans[:, 1] > start))
  if not len(touching):
    raise DataError(
      f'{record.place}: answer {answers[0]["text"]!r} has no token under this'
      ' tokenizer; leave the example out.'
    )
  return int(touching[0]), int(touching[-1])


def _row(encoder, question, numbers, ids, spans, answer):
  tokens, types = encoder.frame(question, ids[numbers])
  first = len(tokens) - len(encoder.end) - len(numbers)
  fields = {name: np.zeros(len(tokens), np.int32) for name in SpanAnswers.fields}
  fields['token_types'] = types
  fields['can_answer'][[0, *range(first, first + len(numbers))]] = 1
  start = end = 0  # the first token: no answer in this window
  if answer and len(numbers) and numbers[0] <= answer[0] and answer[1] <= numbers[-1]:
    start, end = (first + place - int(numbers[0]) for place in answer)
  fields['starts'][start] = fields['ends'][end] = 1
  return Row(tokens, fields, note=(first, spans[numbers]))


def _stripped(text, start, end):
  """Returns (start, end) of a span without the white space at its ends."""
  part = text[start:end]
  left = len(part) - len(part.lstrip())
  return int(start) + left, int(start) + max(left, len(part.rstrip()))
