"""Questions about a text that a language model answers in its own words.

As T5 reads SQuAD, arXiv:1910.10683, section 2.4: text to text, with the loss on the
answer alone.
"""

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.sections import between, one_of, section
from gpt_jax.tasks import continuations
from gpt_jax.tasks.answers import QuestionTask, answer_texts, check_answers
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.templates import template

NOT_ASKED = '(not asked)'
"""Stands for the answer to an unanswerable question that was dropped: '' is right."""
BATCH = 32  # questions that are answered between two looks at the progress


@section
class GenerativeAnswerOptions:
  """`task.options` of generative_qa: what the model reads, and may write.

  template: a name of `gpt-jax templates`, or a text with {context} and {question};
  none_text: what is written, and taken, for a question without an answer.
  """

  template: str = 'qa-en'
  max_answer_tokens: int = between(1, 2**20, default=32)
  none_text: str = 'no answer'
  language: str = one_of('auto', 'en', 'zh', default='auto')


class GenerativeAnswers(QuestionTask):
  """A language model that writes the answer; objective causal_lm.

  Of a context that is too long, the end is left out. A prediction is the `text`.
  """

  name = 'generative_qa'
  inputs = ('context', 'question')
  target = 'answers'
  objectives = ('causal_lm',)
  fields = ('loss_mask',)
  metrics = (
    'f1', 'exact_match', 'answerable_f1', 'answerable_exact_match',
    'unanswerable_accuracy',
  )  # fmt: skip
  answers = 'writing'

  def __init__(self, config):
    super().__init__(config)
    self.template = continuations.template_of(
      config.task.options.template,
      ' {answers}',
      (*self.inputs, 'title', 'answers'),
      self.target,
    )

  def check(self, record):
    super().check(record)
    check_answers(record, needs_start=False)

  def encode(self, record, encoder, is_training):
    del is_training
    answers = answer_texts(record) or [self.cfg.options.none_text]
    values = record.values | {'answers': [{'text': answers[0].strip()}]}
    _, answer = template.render(self.template, values, record.place)
    encoder.counts.examples += 1
    prompt, is_cut = self.prompt_of(record, encoder, len(encoder.ids(answer)))
    row = continuations.continuation_row(encoder, prompt, answer, is_cut)
    return [row] if row else []

  def prompt_of(self, record, encoder, num_answer_tokens=0):
    """Returns (the prompt of a record, whether it is cut so that an answer fits)."""

    def prompt_with(context):
      values = record.values | {'context': context}
      return template.prompt_of(self.template, values, record.place)

    # One token: the ids of the parts are not always those of the whole.
    taken = max(self.cfg.options.max_answer_tokens, num_answer_tokens) + 1
    left = encoder.num_free() - len(encoder.ids(prompt_with(''))) - taken
    whole = self.text_of(record, 'context')
    context = continuations.cut_text(encoder, whole, left)
    return prompt_with(context), context != whole

  def answer(self, generator, records, progress=None, counts=None):
    encoder = Encoder(generator.tokenizer, self.config.data, self.cfg, counts)
    asked: list[str | None] = []
    for record in records:
      prompt, is_cut = self.prompt_of(record, encoder)
      asked.append(prompt if encoder.admits(is_cut) else None)
    prompts = [prompt for prompt in asked if prompt is not None]
    parts = [prompts[i : i + BATCH] for i in range(0, len(prompts), BATCH)]
    options, found = self.cfg.options, []
    for part in parts if progress is None else progress(parts, len(parts)):
      found += generator.generate(
        part, max_new_tokens=options.max_answer_tokens, temperature=0.0, stop='\n'
      )
    written = iter(found)
    return [
      None if prompt is None else self._prediction(next(written)) for prompt in asked
    ]

  def unanswered(self, record):
    return dict(text='' if self.gold(record) else NOT_ASKED)

  def is_none(self, text):
    """Returns whether a text says that there is no answer."""
    return text.strip().casefold() == self.cfg.options.none_text.casefold()

  def _prediction(self, text):
    return dict(text='' if self.is_none(text) else text.strip())

  def baselines(self, train, records):
    found = super().baselines(train, records)
    return {
      name: [dict(text=one['text']) for one in predictions]
      for name, predictions in found.items()
    }


@registry.entry(options=GenerativeAnswerOptions)
def make(config):
  """Returns the task of a Config: a question about a context and its answer."""
  if config.task.too_long == 'window':
    raise ConfigError(
      "task.too_long='window': generative_qa writes one answer, and the one window that"
      ' has it is not known; set truncate or drop, or task.name="qa".'
    )
  return GenerativeAnswers(config)
