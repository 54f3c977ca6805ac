"""One run that is served: its scheduler, format of chats, vectors and classes."""

import asyncio
import concurrent.futures
import dataclasses
import time
from collections.abc import Mapping

from gpt_jax import api, objectives
from gpt_jax.serving import chat_format
from gpt_jax.serving.errors import ApiError, overloaded
from gpt_jax.serving.texts import Texts

TEXT, CHAT, VECTORS, CLASSES = 'completions', 'chat', 'embeddings', 'classify'
"""What a model can be asked for."""
MOST_WAITING = 64
"""Requests for vectors or classes that wait for the one that is computed."""


def load(source, overrides=None, chat_template=None):
  """Returns the Model of a Source. Raises the UserErrors of `api.load`.

  `overrides` as `api.load` takes them, `chat_template` as Model does.
  """
  adapters = dict(source.adapters) or None
  run = api.load(source.path, overrides=overrides, adapters=adapters)
  return Model(source, run, chat_template)


@dataclasses.dataclass(frozen=True)
class Source:
  """Where a model is read from; nothing else than the list of these is ever opened."""

  name: str
  path: str
  adapters: Mapping[str, str] = dataclasses.field(default_factory=dict)
  """Name -> workdir, of LoRA runs over it."""


class Model:
  """A loaded Run with all that answers requests for it."""

  def __init__(self, source, run, chat_template=None):
    """Compiles the programs of a Run, which takes a while.

    `chat_template` as `chat_format.template_of` takes it.
    """
    self.source, self.run = source, run
    self.created = int(time.time())
    self.num_requests = 0
    """In progress: it is closed once these have ended."""
    self.texts = self.chat = None
    self.abilities = {VECTORS}
    objective = objectives.describe(run.config)
    if objective.writes_text and run.config.model.head != 'none':
      self._open_texts(chat_template)
    is_head = run.config.task.name and objective.num_outputs
    if is_head or run.config.objective.name == 'class_labels':
      self.abilities.add(CLASSES)
    # One at a time: they share the machine with each other and with texts.
    self._worker = concurrent.futures.ThreadPoolExecutor(1, f'vectors of {source.name}')
    self._num_waiting = 0

  def _open_texts(self, chat_template):
    run, texts = self.run, self.run.scheduler()
    slots = texts.scheduler.slots
    slots.compile_all()
    context = int(min(slots.slot_tokens, run.engine.table_len))
    self.texts = Texts(texts, run.tokenizer, context)
    self.abilities.add(TEXT)
    template = chat_format.template_of(run.config, run.tokenizer, chat_template)
    if template is not None:
      begin = run.config.data.begin_token
      self.chat = chat_format.ChatFormat(template, run.tokenizer, begin)
      self.abilities.add(CHAT)
    self.texts.start()

  @property
  def error(self):
    """What ended its scheduler; None: it works."""
    return self.texts.error if self.texts is not None else None

  def require(self, ability):
    """Raises ApiError 400 unless the model can do that."""
    if ability in self.abilities:
      return
    name = self.source.name
    if ability == CHAT and TEXT in self.abilities:
      raise ApiError(
        400,
        f'model: {name!r} has no chat template; start the server with'
        ' --chat_template=NAME or FILE (docs/templates.md lists the names), or use'
        ' /v1/completions.',
        code='no_chat_template',
        param='model',
      )
    can = ', '.join(
      f'/v1/{"chat/completions" if a == CHAT else a}' for a in self._sorted()
    )
    raise ApiError(
      400,
      f'model: {name!r} is not made for this; it answers {can}.',
      code='unsupported_model',
      param='model',
    )

  def _sorted(self):
    order = TEXT, CHAT, VECTORS, CLASSES
    return sorted(self.abilities, key=order.index)

  async def compute(self, function, *args):
    """Returns `function(run, *args)`, computed in the model's thread, one at a time.

    Raises ApiError 503 where MOST_WAITING wait.
    """
    if self._num_waiting >= MOST_WAITING:
      raise overloaded('The server is busy; send the request again.', 1)
    self._num_waiting += 1
    try:
      loop = asyncio.get_running_loop()
      return await loop.run_in_executor(self._worker, function, self.run, *args)
    finally:
      self._num_waiting -= 1

  def card(self):
    """Returns what /v1/models says of it, beside its name."""
    card = {
      'object': 'model', 'created': self.created, 'owned_by': 'gpt_jax',
      'step': self.run.step, 'abilities': self._sorted(),
    }  # fmt: skip
    if self.texts is not None:
      card['context'] = self.texts.context
    if self.chat is not None:
      card['chat_template'] = self.chat.name
    return card

  def close(self):
    """Ends its texts and frees its memory."""
    if self.texts is not None:
      self.texts.close()
    self._worker.shutdown(wait=False)
