"""Conversations: replies of the assistant, with the marker that ends them, bear loss.

Supervised fine-tuning as in arXiv:2203.02155, section 3.5. In training several
conversations stand side by side in a row, kept apart by segments.
"""

from gpt_jax.baselines.nearest_reply import nearest_reply
from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, DataError, Problem
from gpt_jax.core.sections import one_of, section
from gpt_jax.data.documents import Special
from gpt_jax.evaluation.scores import Scores
from gpt_jax.evaluation.summary_scores import summary_scores
from gpt_jax.tasks import writing
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.tasks.task import Row, Task
from gpt_jax.templates import chat, jinja_chat


@section
class DialogueOptions(writing.Writing):
  """The format of conversations."""

  template: str = 'chatml'
  """chatml, gemma, llama3, plain, tokenizer (that of the model), or a text in Jinja."""
  language: str = one_of('en', 'zh', default='en')
  """What ROUGE-L counts: stemmed English words, or Chinese characters."""


class Dialogue(Task):
  """Messages, the last of which, a reply, is written for comparison."""

  name = 'dialogue'
  inputs = ('messages',)
  target = 'reply'
  objectives = ('causal_lm',)
  fields = ('loss_mask',)
  metrics = ('rougeL',)
  packages = (('rouge_score', 'rouge-score'),)
  packing = 'first_fit'
  answers = 'writing'

  def check(self, record):
    if 'messages' not in record.values:
      known = ', '.join(record.values)
      raise DataError(
        f"{record.place}: has no 'messages', which task.name='dialogue' reads; it has"
        f' {known}. Set task.reader=alpaca or sharegpt, or say where a list of'
        " {'role', 'content'} stands: task.columns={'messages': ...}."
      )
    chat.check_messages(record.values['messages'], record.place)

  def values_of(self, text):
    return {'messages': [{'role': chat.USER, 'content': text}]}

  def describe(self, record):
    return '\n'.join(f'{one["role"]}: {one["content"]}' for one in _asked(record))

  def texts(self, record):
    return [one['content'] for one in record.values['messages']]

  def gold(self, record):
    last = record.values['messages'][-1]
    return last['content'] if last['role'] == chat.ASSISTANT else None

  def has_answer(self, record, is_training):
    if is_training:  # replies before the last message are learned from, too
      return any(one['role'] == chat.ASSISTANT for one in record.values['messages'])
    return self.gold(record) is not None

  def missing_answer(self, record):
    return (
      f"has no reply: the last of its 'messages' is of role"
      f' {record.values["messages"][-1]["role"]!r}, and task.name={self.name!r} learns'
      f' and is scored by those of {chat.ASSISTANT!r}. Add the reply, or leave the'
      ' example out.'
    )

  def encode(self, record, encoder, is_training):
    del is_training
    encoder.counts.examples += 1
    parts = self._parts(encoder.tokenizer, record.values['messages'], record.place)
    end = [(encoder.end, parts[-1][1])]  # bears the loss of the last part
    tokens, mask = writing.with_loss([(encoder.begin, False), *parts, *end])
    if (surplus := len(tokens) - encoder.max_tokens) > 0:
      is_left = encoder.too_long == 'truncate_left'
      kept = slice(surplus, None) if is_left else slice(encoder.max_tokens)
      tokens, mask = tokens[kept], mask[kept]
      if encoder.too_long == 'drop' or not mask[1:].any():
        encoder.counts.dropped += 1
        return []
      encoder.counts.truncated += 1
    return [Row(tokens, {'loss_mask': mask})]

  def answer(self, generator, records, progress=None, counts=None):
    config, tokenizer = self.config, generator.tokenizer
    encoder = Encoder(tokenizer, config.data, self.cfg, counts)
    free = writing.num_free(config, encoder.begin)
    asked = []
    for record in records:
      parts = self._parts(tokenizer, _asked(record), record.place, for_reply=True)
      ids, _ = writing.with_loss(parts)
      is_read = encoder.admits(len(ids) > free)
      # The latest is what a reply is about.
      asked.append([*encoder.begin, *ids[-free:]] if is_read else None)
    ends = ends_of(self._template(tokenizer))
    return writing.write(generator, asked, config, progress, **ends)

  def score(self, records, predictions):
    texts = [one['text'] for one in predictions]
    references = [[self.gold(record)] for record in records]
    found = summary_scores(references, texts, self.cfg.options.language)
    return Scores({'rougeL': found.metrics['rougeL']}, found.details)

  def baselines(self, train, records):
    pairs = [(self.describe(one), reply) for one in train if (reply := self.gold(one))]
    if not pairs:
      return {}
    requests, replies = zip(*pairs, strict=True)
    asked = [self.describe(record) for record in records]
    found = nearest_reply(requests, replies, asked)
    return {'reply to the nearest request': [{'text': text} for text in found]}

  def _template(self, tokenizer):
    return jinja_chat.get(self.cfg.options.template, tokenizer)

  def _parts(self, tokenizer, messages, place, for_reply=False):
    """Returns [(ids, whether they bear loss)] of a conversation."""
    parts = chat.render_parts(
      messages, self._template(tokenizer), add_generation_prompt=for_reply, place=place
    )
    if begin := self.config.data.begin_token:
      parts = chat.without_begin(parts, begin)
    return [
      (
        [tokenizer.special_id(part.name)]
        if isinstance(part, Special)
        else tokenizer.encode(part),
        bears_loss,
      )
      for part, bears_loss in parts
    ]


def ends_of(template):
  """Returns the fields of `TextOptions` that end a text where a reply ends.

  Of a ChatTemplate: a special token, a marker that is text, or what begins the next
  turn.
  """
  turns = [('user', 'a'), ('assistant', 'b'), ('user', 'c')]
  messages = [{'role': role, 'content': text * 3} for role, text in turns]
  parts = chat.render_parts(messages, template)
  place = next(i for i, (_, bears_loss) in enumerate(parts) if bears_loss)
  after = parts[place][0].partition('bbb')[2]
  if after.strip():
    return {'stop': after.strip()}
  following, bears_loss = parts[place + 1]
  if isinstance(following, Special):
    return {'stop_tokens': following.name} if bears_loss else {}
  return {'stop': (after + following.partition('ccc')[0]).rstrip()}


def problems(config):
  """Returns the Problems of a Config with this task."""
  found = writing.problems(config)
  name = config.task.options.template
  try:
    if name != jinja_chat.OF_TOKENIZER:  # known once the tokenizer is open
      jinja_chat.get(name)
  except ConfigError as error:
    found.append(Problem('task.options.template', f': {str(error).rstrip(".")}'))
  return found


@registry.entry(options=DialogueOptions, problems=problems)
def make(config):
  """Returns the task of a Config: conversations of a user and an assistant."""
  return Dialogue(config)


def _asked(record):
  """Returns the messages before the last reply."""
  messages = record.values['messages']
  return messages[:-1] if messages[-1]['role'] == chat.ASSISTANT else messages
