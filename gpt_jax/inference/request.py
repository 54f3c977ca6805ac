"""One text to write: its prompt, and settings that are data to the compiled program."""

import collections
import dataclasses
import operator
import zlib
from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import token_log_probs
from gpt_jax.inference.settings import GREEDY, Sampling


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What `Engine.generate` writes a text for; requests of one batch may differ."""

  prompt_ids: Any
  """int32 [n], at least one."""
  max_new_tokens: int
  sampling: Sampling = GREEDY
  seed: int = 0
  stop_ids: tuple[int, ...] = ()
  """Ids that end the text; they are no part of it."""
  guides: tuple[Any, ...] = ()
  """GuideMakers: stop strings, banned strings, grammars."""
  adapter: str | None = None
  """Which of several adapters of the engine writes it; None: the base."""
  principal: str | None = None
  """Who asks: what others ask for is read anew, and waits in a line of its own."""
  log_probs: int | None = None
  """How many likeliest tokens to tell at each place beside the written one; None: no
  log-probabilities at all. They change no text."""

  def __post_init__(self):
    object.__setattr__(self, 'prompt_ids', as_ids('prompt', self.prompt_ids))
    object.__setattr__(self, 'stop_ids', tuple(map(int, self.stop_ids)))
    number = whole_number('max_new_tokens', self.max_new_tokens)
    if number < 0:
      raise ConfigError(f'max_new_tokens={number}: expected 0 or more tokens.')
    object.__setattr__(self, 'max_new_tokens', number)
    object.__setattr__(self, 'seed', whole_number('seed', self.seed))
    object.__setattr__(self, 'guides', tuple(self.guides))
    if self.log_probs is not None:
      number = whole_number('logprobs', self.log_probs)
      if not 0 <= number <= token_log_probs.MOST:
        raise ConfigError(
          f'logprobs={number}: expected 0 (of the written token alone) to'
          f' {token_log_probs.MOST} likeliest tokens.'
        )

  @property
  def _content(self):
    return (
      self.prompt_ids.tobytes(), self.max_new_tokens, self.sampling, self.seed,
      self.stop_ids, self.guides, self.adapter,
    )  # fmt: skip


def make_requests(prompts_ids, **settings):
  """Returns a Request for each prompt; a setting is one value, or a list of one each.

  Raises ConfigError for a list of another length.
  """
  columns = {name: each(name, v, len(prompts_ids)) for name, v in settings.items()}
  return [
    Request(prompt_ids=ids, **{name: column[i] for name, column in columns.items()})
    for i, ids in enumerate(prompts_ids)
  ]


def each(name, value, count):
  """Returns `count` values of the setting `name`, given as one value or as a list."""
  if not isinstance(value, list | np.ndarray):
    return [value] * count
  if len(value) != count:
    raise ConfigError(
      f'{name}: {len(value)} values for {count} prompts; expected one value for all, or'
      ' a list of one for each.'
    )
  return list(value)


def identities(requests):
  """Returns uint32 [B, 2]: a hash of each prompt, and how often its request came."""
  # They seed the row's random stream: a request gets the same text whatever else is in
  # the batch, and given twice, two texts.
  seen = collections.Counter()
  identity_B2 = np.zeros((len(requests), 2), np.uint32)
  for i, request in enumerate(requests):
    content = request._content
    identity_B2[i] = zlib.crc32(content[0]), seen[content]
    seen[content] += 1
  return identity_B2


def whole_number(name, value):
  """Returns `value` as an int. Raises ConfigError where it is none, such as 2.5."""
  try:
    if isinstance(value, bool | np.bool_):
      raise TypeError
    return operator.index(value)
  except TypeError:
    raise ConfigError(f'{name}={value!r}: expected a whole number.') from None


def as_ids(name, ids):
  """Returns `ids` as int32 [n], as `token_array`."""
  return token_array(name, ids).reshape(-1)


def token_array(name, ids):
  """Returns `ids` as an int32 array. Raises ConfigError for what are no token ids."""
  try:
    array = np.asarray(ids)
  except ValueError:
    raise ConfigError(f'{name}: expected rows of token ids, equally long.') from None
  if array.size and array.dtype.kind not in 'iu':
    raise ConfigError(
      f'{name}: expected token ids, whole numbers, not {str(ids)[:40]!r}; a tokenizer'
      ' makes them: run.tokenizer.encode(text).'
    )
  limits = np.iinfo(np.int32)
  if array.size and not (limits.min <= array.min() and array.max() <= limits.max):
    raise ConfigError(f'{name}: ids from {array.min()} to {array.max()} are no int32.')
  return array.astype(np.int32)


def require_ids(rows, vocab_limit):
  """Raises ConfigError for a row without ids, or with one from `vocab_limit` on."""
  for i, ids in enumerate(rows):
    if not len(ids):
      raise ConfigError(f'text {i} has no token; expected at least one to start from.')
    if ids.min() < 0 or ids.max() >= vocab_limit:
      wrong = ids[(ids < 0) | (ids >= vocab_limit)][0]
      raise ConfigError(
        f'text {i} holds the id {wrong}; expected ids from 0 to {vocab_limit - 1}.'
      )
