"""Scores of answers to questions on a text: exact match and token F1, as for SQuAD.

Rajpurkar et al., arXiv:1606.05250, section 6.1; unanswerable questions as in
arXiv:1806.03822.
"""

import collections
import re
import string

from gpt_jax.core import registry
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned, chinese
from gpt_jax.evaluation.scores import Scores

METRIC = 'Scores of answers'
_ARTICLE = re.compile(r'\b(?:a|an|the)\b')
_NO_PUNCTUATION = str.maketrans('', '', string.punctuation)


def english_tokens(answer):
  """Returns the words of `answer` after SQuAD's normalization, in this order.

  Lower case; no ASCII punctuation, which joins what it stood between; no articles;
  split at white space.
  """
  text = answer.lower().translate(_NO_PUNCTUATION)
  return _ARTICLE.sub(' ', text).split()


TOKENS = {'en': english_tokens, 'zh': chinese.character_tokens}
"""Language -> the tokens of an answer. Chinese has Han characters and words of other
scripts, punctuation and symbols left out: F1 counts shared characters, in any order, as
in the evaluation of MLQA (arXiv:1910.07475), where only punctuation is left out. CMRC
2018 (arXiv:1810.07366) counts the longest common substring instead, which gives at most
this F1."""


def answer_scores(gold, predicted, language='en'):
  """Returns the `Scores` of one predicted answer a question.

  Metrics, from 0 to 1: exact_match and f1, each the mean over questions of the best
  value among the question's answers. Where some questions have no answer, also
  answerable_exact_match, answerable_f1, and unanswerable_accuracy: of those without.
  Details: language, num_questions, num_unanswerable.

  Args:
    gold: the answers of each question, a list of texts; empty when it has none.
    predicted: one text a question, '' to say that there is no answer.
    language: of `TOKENS`.

  Raises DataError on no questions or other lengths.
  """
  aligned.require_aligned(METRIC, gold=gold, predicted=predicted)
  tokens = registry.choose(TOKENS, language, 'language')
  exact, f1, has_answer = [], [], []
  for row, (answers, answer) in enumerate(zip(gold, predicted, strict=True)):
    if isinstance(answers, str):
      raise DataError(
        f'{METRIC}: gold[{row}]={answers!r}: expected a list of answers, empty when the'
        ' question has none.'
      )
    found = tokens(answer)
    # An answer that is all articles and punctuation counts as none.
    wanted = [words for words in map(tokens, answers) if words] or [[]]
    exact.append(float(found in wanted))
    f1.append(max(token_f1(words, found) for words in wanted))
    has_answer.append(bool(wanted[0]))
  metrics = dict(exact_match=_mean(exact), f1=_mean(f1))
  if not all(has_answer):
    metrics['unanswerable_accuracy'] = _mean(_where(exact, has_answer, False))
    if any(has_answer):
      metrics['answerable_exact_match'] = _mean(_where(exact, has_answer, True))
      metrics['answerable_f1'] = _mean(_where(f1, has_answer, True))
  details = dict(
    language=language,
    num_questions=len(exact),
    num_unanswerable=has_answer.count(False),
  )
  return Scores(metrics, details)


def token_f1(wanted, found):
  """Returns F1 of the tokens that two lists share, repeats counted.

  1 when both are empty, 0 when one is.
  """
  if not wanted or not found:
    return float(wanted == found)
  shared = sum((collections.Counter(wanted) & collections.Counter(found)).values())
  return 2 * shared / (len(wanted) + len(found))


def _where(values, flags, wanted):
  return [value for value, flag in zip(values, flags, strict=True) if flag == wanted]


def _mean(values):
  return sum(values) / len(values)
