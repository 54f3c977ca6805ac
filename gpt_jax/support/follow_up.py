"""Questions that follow up on the last one: what is searched for then."""

import re

from gpt_jax.evaluation import chinese
from gpt_jax.retrieval import terms

FEW_TERMS = 2
_REFERS = re.compile(
  r"\b(?:it|its|it's|these|those|they|them|their|he|she|his|her)\b"
  r'|\b(?:this|that|there|then|else|instead|one|ones)\W*$'
  r'|^\W*(?:and|but|or|so|what about|how about|also|why)\b'
  r'|[它他她]|^\W*(?:那么?|还有|如果)|呢\W*$',
  re.IGNORECASE,
)
"""Pronouns; words that refer at an end of the question."""


def is_follow_up(question, is_known):
  """Returns whether a question refers to one before: a pronoun, or hardly a term.

  `is_known`: whether the documents have a term of it; few words that they do not know
  are another subject.
  """
  few = FEW_TERMS * 3 if chinese.is_chinese([question]) else FEW_TERMS
  is_short = len(set(terms.terms(question))) <= few
  return bool(_REFERS.search(question)) or (is_short and is_known)


def query_of(question, last_question, is_known):
  """Returns what to search for: a question that follows up, behind the one before."""
  if last_question and is_follow_up(question, is_known):
    return f'{last_question} {question}'
  return question
