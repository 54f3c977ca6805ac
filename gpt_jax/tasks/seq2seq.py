"""Text to text: a prompt that a template makes of a source, and the target after it.

The target and the end token bear the loss; the prompt is only read, by prefix_lm from
both sides. Summaries and translations are subclasses.
"""

import functools

from gpt_jax.core.errors import ConfigError, DataError, Problem
from gpt_jax.core.sections import between, section
from gpt_jax.data.continuation import encode_pair
from gpt_jax.tasks import writing
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.tasks.task import Row, Task
from gpt_jax.templates import prompts
from gpt_jax.templates.template import prompt_of, render, require_unanswered

FIELDS = ('source', 'targets')
TARGET = ' {targets}'


@section
class Seq2SeqOptions(writing.Writing):
  """The prompt, and what is left of a target that is too long."""

  template: str = ''
  """A name (`gpt-jax templates`), or a text with {source}."""
  target: str = ''
  """What follows the prompt; '': as the named template says, else ' {targets}'."""
  target_share: float = between(0.05, 0.95, 0.5)
  """Of data.seq_len: a target of more tokens is cut where prompt and target do not fit.
  Below it the source alone gives way."""


class Seq2Seq(Task):
  """Base of tasks that write a target; subclasses score what is written."""

  inputs = ('source',)
  target = 'targets'
  objectives = ('causal_lm', 'prefix_lm')
  fields = ('loss_mask',)
  answers = 'writing'

  @functools.cached_property
  def template(self):
    """The PromptTemplate of task.options; ConfigError for one that there is not."""
    return template_of(self.cfg.options)

  def check(self, record):
    self.text_of(record, 'source')
    targets = self.gold(record)
    if targets is not None and not (
      isinstance(targets, list) and targets and all(map(_is_text, targets))
    ):
      raise DataError(
        f'{record.place}: targets={targets!r:.80}: expected a list of one text or more.'
      )

  def texts(self, record):
    return [record.values['source'], *(self.gold(record) or [])]

  def encode(self, record, encoder, is_training):
    del is_training
    tokenizer, begin = encoder.tokenizer, encoder.begin
    end = [writing.end_id(tokenizer, self.config)]
    encoder.counts.examples += 1
    limit = encoder.max_tokens - len(begin) - len(end)
    prompt, target = self._texts(record.values, record.place)
    prompt_ids, target_ids = encode_pair(tokenizer, prompt, target)
    is_whole = bool(target)
    if len(prompt_ids) + len(target_ids) > limit:
      if encoder.too_long == 'drop':
        encoder.counts.dropped += 1
        return []
      encoder.counts.truncated += 1
      most = max(int(limit * self.cfg.options.target_share), limit - len(prompt_ids))
      is_whole = is_whole and len(target_ids) <= most
      target_ids = target_ids[:most]
      prompt = self._fitted(record, tokenizer, limit - len(target_ids))
      prompt_ids = tokenizer.encode(prompt)
    # The end of a part of a target would be a wrong place to stop.
    tokens, mask = writing.with_loss(
      [
        ([*begin, *prompt_ids], False),
        (target_ids, True),
        (end if is_whole else [], True),
      ]
    )
    return [Row(tokens, {'loss_mask': mask})]

  def answer(self, generator, records, progress=None, counts=None):
    encoder = Encoder(generator.tokenizer, self.config.data, self.cfg, counts)
    free = writing.num_free(self.config, encoder.begin)
    asked = [self._prompt_ids(record, encoder, free) for record in records]
    return writing.write(generator, asked, self.config, progress)

  def _prompt_ids(self, record, encoder, free):
    """Returns the ids of a prompt, at most `free` and the begin; None: dropped."""
    tokenizer = encoder.tokenizer
    whole, _ = self._texts(record.values | {'targets': []}, record.place)
    if not encoder.admits(len(tokenizer.encode(whole)) > free):
      return None
    return [*encoder.begin, *tokenizer.encode(self._fitted(record, tokenizer, free))]

  def _texts(self, values, place):
    """Returns (prompt, target, '' for none); space between them is the target's.

    A prompt that ends in a space is another one to most tokenizers.
    """
    if values.get('targets'):
      prompt, target = render(self.template, values, place)
    else:
      prompt, target = prompt_of(self.template, values, place), ''
    asked = prompt.rstrip()
    return asked, target and prompt[len(asked) :] + target

  def _fitted(self, record, tokenizer, free):
    """Returns the prompt of a record in at most `free` tokens; the source is cut."""
    values, source = record.values, record.values['source']

    def prompt_with(text):
      return self._texts(values | {'source': text, 'targets': []}, record.place)[0]

    prompt = prompt_with(source)
    count = len(tokenizer.encode(prompt))
    if count <= free:
      return prompt
    fixed = len(tokenizer.encode(prompt_with('')))
    while count > free:
      # In proportion; characters, so that what is left is a text.
      kept = int(len(source) * max(0, free - fixed) / max(1, count - fixed))
      kept = min(kept, len(source) - 1)
      if kept < 1:
        raise ConfigError(
          f'data.seq_len={self.config.data.seq_len}: template and target leave no token'
          f' for the source of {record.place}; raise it, or lower'
          ' task.options.max_new_tokens and target_share.'
        )
      is_left = self.cfg.too_long == 'truncate_left'
      source = source[len(source) - kept :] if is_left else source[:kept]
      prompt = prompt_with(source)
      count = len(tokenizer.encode(prompt))
    return prompt


def template_of(options):
  """Returns the PromptTemplate of Seq2SeqOptions; ConfigError for an unknown one."""
  found = prompts.get(options.template, target=options.target, fields=FIELDS)
  if not found.target:
    found = prompts.get(options.template, target=TARGET, fields=FIELDS)
  if 'source' not in found.placeholders():
    raise ConfigError(f'template={options.template!r}: has no {{source}} to be read.')
  return require_unanswered(found, Seq2Seq.target)


def problems(config):
  """Returns the Problems of a Config with a task of this kind."""
  found = writing.problems(config)
  try:
    template_of(config.task.options)
  except ConfigError as error:
    found.append(Problem('task.options.template', f': {str(error).rstrip(".")}'))
  return found


def _is_text(value):
  return isinstance(value, str) and bool(value.strip())
