"""Answers by a language model that is shown solved examples, in words of the passage.

Few-shot prompting (Brown et al., arXiv:2005.14165). The model writes freely to the end
of the line; the answer is where the passage says the same (quotation.py), so that it
can always be cited. Held to spans while it writes, it goes astray after the first word
that it may not write.
"""

from typing import Any

from gpt_jax.evaluation import chinese
from gpt_jax.examples.record import Record
from gpt_jax.support import answer, quotation
from gpt_jax.tasks import make_task
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.templates import prompts, template

RANK_WEIGHT = 6.0  # as of span_answerer.py
FORMS = {
  'en': prompts.get(
    'Text: {context}\nQuestion: {question}\nAnswer:', target=' {answers}'
  ),
  'zh': prompts.get(
    '文章：{context}\n问题：{question}\n回答：', target='{answers}', language='zh'
  ),
}
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
    (
      'The bridge over the Lind was opened in 1912. It is 214 metres long and carries'
      ' two railway tracks, which about ninety trains cross each day.',
      'How long is the bridge?',
      '214 metres',
    ),
    (
      'Salt was the wealth of the town. Merchants from Lubeck bought it at the harbour'
      ' and shipped it to Novgorod, where it was traded for furs.',
      'What was salt traded for in Novgorod?',
      'furs',
    ),
    (
      'Bees find their way by the sun. When clouds hide it, they read the polarization'
      ' of the sky instead, as Karl von Frisch showed.',
      'Who showed that bees read polarization?',
      'Karl von Frisch',
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
    (
      '这座大桥于1912年通车，全长214米，有两条铁轨，每天约有九十列火车通过。',
      '大桥有多长？',
      '214米',
    ),
    (
      '盐是这座小城的财富。商人在港口买盐，运到北方换取毛皮。',
      '商人在北方用盐换什么？',
      '毛皮',
    ),
    (
      '蜜蜂靠太阳辨认方向。云遮住太阳时，它们看天空的偏振光，这是弗里希发现的。',
      '谁发现了蜜蜂看偏振光？',
      '弗里希',
    ),
  ),
}
MAX_NEW_TOKENS = 32
BATCH = 32  # questions between two looks at the progress; they share the examples


class GenerativeAnswerer:
  """Writes an answer to each passage (greedy), and finds it there."""

  kind = 'language model'
  passages = 1

  def __init__(self, run, name):
    """Takes a Run that writes text, and what messages call it."""
    self._run, self.name = run, name
    self._task: Any = None
    if run.config.task.name == 'generative_qa':  # its prompts are what it learned from
      self._task = make_task(run.config)
    self.answer_many = answer.Readings(self._read_many, RANK_WEIGHT).answer_many

  def _read_many(self, pairs, progress):
    parts = [pairs[i : i + BATCH] for i in range(0, len(pairs), BATCH)]
    shown = progress(parts, 'answering', len(parts)) if progress else parts
    return [found for part in shown for found in self._read(part)]

  def _read(self, pairs):
    """Returns (span, log-probability of what was written) of each (question, text)."""
    languages = ['zh' if chinese.is_chinese([text]) else 'en' for _, text in pairs]
    asked = [
      self._prompt(question, text, language)
      for (question, text), language in zip(pairs, languages, strict=True)
    ]
    written = self._run.complete(
      asked, max_new_tokens=MAX_NEW_TOKENS, temperature=0.0, stop='\n', logprobs=0
    )
    return [
      self._reading(one, text, language)
      for (one,), (_, text), language in zip(written, pairs, languages, strict=True)
    ]

  def _prompt(self, question, text, language):
    if self._task is None:
      return prompt_of(question, text, language)
    config = self._run.config
    encoder = Encoder(self._run.tokenizer, config.data, config.task)
    record = Record(dict(context=text, question=question), 'a question')
    return self._task.prompt_of(record, encoder)[0]

  def _reading(self, completion, text, language):
    said = completion.text.strip()
    log_prob = sum(one.log_prob for one in completion.log_probs)
    is_none = self._task is not None and self._task.is_none(said)
    span = None if is_none else quotation.find(said, text, language)
    return (text[slice(*span)], log_prob) if span else ('', answer.LEAST)


def prompt_of(question, text, language):
  """Returns the prompt: solved examples, then a text and a question."""
  form = FORMS[language]
  shots = []
  for context, asked, said in SHOTS[language]:
    values = dict(context=context, question=asked, answers=[{'text': said}])
    shots.append(''.join(template.render(form, values, 'an example of SHOTS')))
  last = template.prompt_of(form, dict(context=text, question=question), 'a question')
  return '\n\n'.join([*shots, last])
