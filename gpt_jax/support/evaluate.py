"""How good is the service: passages found, answers right, questions refused.

A question is asked twice: of all documents, and with those hidden that answer it. What
is said to the second is a false answer; saying nothing to the first a false refusal.
"""

import dataclasses

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import chinese
from gpt_jax.evaluation.answer_scores import answer_scores
from gpt_jax.retrieval.passages import Passage
from gpt_jax.retrieval.search import Hit
from gpt_jax.support import confidence, service
from gpt_jax.support.answer import Answer
from gpt_jax.support.questions import Question

DEEPEST = 20
MORE = 3  # passages, where the service reads one
CUTOFFS = (1, 3, 5, 10, 20)


def recall(searcher, questions, vectors_QD):
  """Returns {method: [recall@1, ..., recall@DEEPEST]}; None without known passages.

  Recall at k is the share of questions with a passage among the first k that has the
  answer. Questions without an answer, or whose passage is in no document, are left out.
  """
  asked = [
    (question, None if vectors_QD is None else vectors_QD[i])
    for i, question in enumerate(questions)
    if question.answers and any(map(question.is_answered_by, searcher.index.passages))
  ]
  if not asked:
    return None
  curves = {}
  for method in searcher.methods:
    found_QK = np.zeros((len(asked), DEEPEST))
    for row, (question, vector_D) in enumerate(asked):
      for hit in searcher.search(question.text, DEEPEST, method, vector_D):
        if question.is_answered_by(hit.passage):
          found_QK[row, hit.rank - 1 :] = 1
          break
    curves[method] = found_QK.mean(0).tolist()
  return curves


def settings_of(searcher, count, method):
  """Returns the rows of the ablation: {name: (method, number of passages read)}."""
  rows = {_setting(name, count): (name, count) for name in searcher.methods}
  for other in sorted({1, MORE} - {count}):
    rows[_setting(method, other)] = (method, other)
  return rows


def _setting(method, count):
  return f'{method}, {count} passage{"s" * (count > 1)}'


def reading(made, questions, vectors_QD, progress=None):
  """Returns {setting: scores} of answers, each question answered whatever it takes.

  Scores are exact_match, f1, and cited: the share whose cited sentence has the answer.

  `made`: a Service. Beside the settings of search there is `right paragraph`, what the
  answerer makes of it, where all questions have one: the most that search can give.
  """
  searcher = made.searcher
  asked = [(i, one) for i, one in enumerate(questions) if one.answers]
  if not asked:
    raise DataError('--questions: none of them has an answer.')
  items = {}
  for name, (method, count) in settings_of(searcher, made.count, made.method).items():
    items[name] = [
      (one.text, searcher.search(one.text, count, method, _row(vectors_QD, i)))
      for i, one in asked
    ]
  if all(one.context for _, one in asked):
    items['right paragraph'] = [
      (one.text, [_only(one.context, one.heading)]) for _, one in asked
    ]
  flat = [item for rows in items.values() for item in rows]
  answers = iter(made.answerer.answer_many(flat, progress))
  gold = [list(one.answers) for _, one in asked]
  language = language_of(questions)
  scores = {}
  for name, rows in items.items():
    found = [next(answers) for _ in rows]
    texts = [one.text for one in found]
    quotes = [_quote(hits, one) for (_, hits), one in zip(rows, found, strict=True)]
    holds = [
      any(text in quote for text in texts)
      for texts, quote in zip(gold, quotes, strict=True)
    ]
    scores[name] = answer_scores(gold, texts, language).metrics | {
      'cited': sum(holds) / len(holds)
    }
  return scores


@dataclasses.dataclass(frozen=True)
class Asked:
  """A question, of all documents or of those that do not answer it, and its answer."""

  question: Question
  is_answerable: bool
  hits: list[Hit]
  answer: Answer

  @property
  def features(self):
    """What the confidence in the answer is made of."""
    return confidence.features_of(self.question.text, self.hits, self.answer)


def ask_twice(made, questions, vectors_QD, progress=None):
  """Returns what was Asked of a Service.

  Each question with a known place is asked of all documents, and with its file and
  heading hidden; questions without an answer once.
  """
  asked = []
  for i, one in enumerate(questions):
    hidden_N = np.array(
      [one.is_in(passage) for passage in made.searcher.index.passages]
    )
    masks: list[np.ndarray | None] = [None]
    if one.answers and (one.file or one.heading) and not hidden_N.all():
      masks.append(hidden_N)
    for mask in masks:
      hits = made.find(one.text, _row(vectors_QD, i), mask)
      asked.append((one, bool(one.answers) and mask is None, hits))
  answers = made.read([(one.text, hits) for one, _, hits in asked], progress)
  return [
    Asked(one, is_answerable, hits, answer)
    for (one, is_answerable, hits), answer in zip(asked, answers, strict=True)
  ]


def refusals(made, asked):
  """Returns the error rates and scores of a Service, of what `ask_twice` returns.

  false_answers: share of the questions that the documents do not answer, and that were
  answered; false_refusals: of those that they do, and that were not; exact_match and
  f1 over the answerable ones, a refusal counting as wrong; answered_f1 over those that
  were answered.
  """
  said = {True: [], False: []}
  for one in asked:
    found = made.judged(one.question.text, one.hits, one.answer)
    said[one.is_answerable].append((list(one.question.answers), found.answer.text))
  right, wrong = said[True], said[False]
  language = language_of([one.question for one in asked])

  def score(rows):
    gold, texts = zip(*rows, strict=True)
    return answer_scores(gold, texts, language).metrics

  scores = score(right) if right else {}
  given = [(gold, text) for gold, text in right if text]
  return dict(
    num_answerable=len(right),
    num_unanswerable=len(wrong),
    false_answers=_share([bool(text) for _, text in wrong]),
    false_refusals=_share([not text for _, text in right]),
    exact_match=scores.get('exact_match'),
    f1=scores.get('f1'),
    answered_f1=score(given)['f1'] if given else None,
  )


def language_of(questions):
  """Returns the language by which answers are compared: zh for Chinese questions."""
  return 'zh' if chinese.is_chinese([one.text for one in questions]) else 'en'


def _quote(hits, found):
  """Returns the sentence that an answer cites, '' without one."""
  if found.number is None:
    return ''
  return service.cite(hits[found.number].passage, found.text).quote


def _row(vectors_QD, i):
  return None if vectors_QD is None else vectors_QD[i]


def _only(text, heading):
  return Hit(1, Passage('', heading, text), 1.0, 1.0, 1.0)


def _share(flags):
  return sum(flags) / len(flags) if flags else None
