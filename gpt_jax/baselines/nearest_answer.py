"""The sentence of a text that shares most words with a question, as its answer.

The sliding window of Richardson et al. 2013 (MCTest) with sentences as windows.
"""

from gpt_jax.baselines import lead
from gpt_jax.evaluation import answer_scores, chinese


def nearest_answer(contexts, questions):
  """Returns `{'text', 'start'}` for each question: a sentence of its context.

  It has the most different words of the question (in Chinese: characters), of equals
  the shortest, then the first. '' at 0 where a context has no sentence.
  """
  return [
    _nearest(context, question)
    for context, question in zip(contexts, questions, strict=True)
  ]


def _nearest(context, question):
  is_chinese = chinese.is_chinese([context])
  tokens = answer_scores.TOKENS['zh' if is_chinese else 'en']
  asked = set(tokens(question))

  def rank(span):
    words = tokens(context[span[0] : span[1]])
    return -len(asked.intersection(words)), len(words)

  start, end = min(lead.sentence_spans(context), key=rank, default=(0, 0))
  return dict(text=context[start:end], start=start)
