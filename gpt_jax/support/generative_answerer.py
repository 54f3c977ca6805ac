"""Answers by a language model that is shown solved examples, in words of the passage.

Few-shot prompting (Brown et al., arXiv:2005.14165). What is written is held to spans of
the passage (`choices` of decoding), so that an answer can always be cited.
"""

import re

from gpt_jax.evaluation import chinese
from gpt_jax.support import answer
from gpt_jax.templates import prompts, template

RANK_WEIGHT = 6.0  # as of span_answerer.py
TEMPLATES = {'en': 'qa-en', 'zh': 'qa-zh'}
SHOTS = {
  'en': (
    (
      'The library on Mill Street lends books, films and tools. A card costs nine euros'
      ' a year; students under eighteen pay nothing.',
      'How much is a library card?',
      'nine euros a year',
    ),
    (
      'Anna Berg led the town choir from 1988 until she moved to Bergen. Her pupil Nils'
      ' Dahl has led it since.',
      'Who leads the choir now?',
      'Nils Dahl',
    ),
  ),
  'zh': (
    (
      '市图书馆出借图书、电影和工具。借书证每年九元，未满十八岁的学生免费。',
      '办借书证多少钱？',
      '每年九元',
    ),
    (
      '李芳从1988年起指挥合唱团，直到搬去青岛。此后由她的学生王强指挥。',
      '现在谁指挥合唱团？',
      '王强',
    ),
  ),
}
MOST_WORDS = 8  # of a span
MOST_CHARACTERS = 16  # of one in Chinese
MAX_NEW_TOKENS = 24
_WORD = re.compile(r"[^\W_]+(?:[-'’.,:/][^\W_]+)*%?")
_TOKEN = re.compile(rf'[{chinese.LETTER}]|[^\W{chinese.LETTER}]+')
_BORDER = re.compile(r'[.!?;。！？；]\s|\n')


class GenerativeAnswerer:
  """Writes the likeliest span of each passage, word by word (greedy)."""

  kind = 'language model'
  passages = 1

  def __init__(self, run, name):
    """Takes a Run that writes text, and what messages call it."""
    self._run, self.name = run, name
    self.answer_many = answer.Readings(self._read_many, RANK_WEIGHT).answer_many

  def _read_many(self, pairs, progress):
    shown = progress(pairs, 'answering', len(pairs)) if progress else pairs
    return [self._read(*pair) for pair in shown]

  def _read(self, question, text):
    language = 'zh' if chinese.is_chinese([text]) else 'en'
    choices = spans_of(text, language, ' ' if language == 'en' else '')
    choices = self._short_ones(choices)
    if not choices:
      return '', answer.LEAST
    (found,) = self._run.complete(
      prompt_of(question, text, language),
      max_new_tokens=MAX_NEW_TOKENS,
      temperature=0.0,
      choices=choices,
      logprobs=0,
    )
    return found.text.strip(), sum(one.log_prob for one in found.log_probs)

  def _short_ones(self, choices):
    encoded = self._run.tokenizer.encode_batch(choices)
    return [
      one
      for one, ids in zip(choices, encoded, strict=True)
      if len(ids) < MAX_NEW_TOKENS
    ]


def prompt_of(question, text, language):
  """Returns the prompt: solved examples, then a text and a question."""
  form = prompts.get(TEMPLATES[language])
  shots = []
  for context, asked, said in SHOTS[language]:
    values = dict(context=context, question=asked, answers=[{'text': said}])
    shots.append(''.join(template.render(form, values, 'an example of SHOTS')))
  last = template.prompt_of(form, dict(context=text, question=question), 'a question')
  return '\n\n'.join([*shots, last])


def spans_of(text, language, before=''):
  """Returns the spans of a text that may be an answer: words of one sentence.

  `before` is put in front of each.
  """
  pattern = _TOKEN if language == 'zh' else _WORD
  most = MOST_CHARACTERS if language == 'zh' else MOST_WORDS
  words = [found.span() for found in pattern.finditer(text)]
  found = {}
  for i, (start, _) in enumerate(words):
    for _, end in words[i : i + most]:
      if _BORDER.search(text, start, end):
        break
      found[before + text[start:end]] = None
  return list(found)
