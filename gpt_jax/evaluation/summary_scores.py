"""Scores of summaries: ROUGE-1, ROUGE-2 and ROUGE-L, by rouge-score.

Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
"""

from gpt_jax.core import extras, registry
from gpt_jax.evaluation import aligned, chinese, references
from gpt_jax.evaluation.scores import Scores

METRIC = 'ROUGE'
TYPES = ('rouge1', 'rouge2', 'rougeL')


class ChineseTokenizer:
  """Han characters and words of other scripts, as rouge-score asks for tokens."""

  def tokenize(self, text):
    return chinese.character_tokens(text)


TOKENIZERS = {'en': None, 'zh': ChineseTokenizer()}
"""Language -> its tokenizer. None is that of rouge-score: runs of a-z and 0-9, with
Porter's stemmer."""


def summary_scores(references_of, predicted, language='en'):
  """Returns the `Scores` of one predicted summary an example.

  Metrics, F-measures from 0 to 1: rouge1, rouge2, rougeL, the mean over examples of the
  best value among an example's references, each metric by itself; where an example has
  several, also rouge1_mean and so on, with the mean over its references instead.
  ROUGE-L is that of whole summaries, not of their sentences. Details: language,
  max_references, stemmer.

  Args:
    references_of: of each example a list of texts.
    predicted: one text an example.
    language: of `TOKENIZERS`.

  Raises DataError on no examples, other lengths, or an example without reference.
  """
  aligned.require_aligned(METRIC, references=references_of, predicted=predicted)
  references.require_lists(METRIC, references_of)
  tokenizer = registry.choose(TOKENIZERS, language, 'language')
  package = extras.load(
    'rouge_score.rouge_scorer', extra='tasks', package='rouge-score', use=METRIC
  )
  scorer = package.RougeScorer(list(TYPES), use_stemmer=True, tokenizer=tokenizer)
  best = {name: 0.0 for name in TYPES}
  mean = {f'{name}_mean': 0.0 for name in TYPES}
  for texts, summary in zip(references_of, predicted, strict=True):
    scores = [scorer.score(text, summary) for text in texts]
    for name in TYPES:
      values = [score[name].fmeasure for score in scores]
      best[name] += max(values) / len(predicted)
      mean[f'{name}_mean'] += sum(values) / len(values) / len(predicted)
  max_references = max(map(len, references_of))
  details = dict(
    language=language, max_references=max_references, stemmer=tokenizer is None
  )
  return Scores(best | (mean if max_references > 1 else {}), details)
