"""How many texts are written at a time, and how many prefixes are kept."""

import dataclasses

import jax

from gpt_jax.core.errors import Problem, require_none
from gpt_jax.inference import cache_memory
from gpt_jax.parallel import free_memory

SLOTS = {'cpu': 16}
MOST_SLOTS = 64
"""Where nobody says how many, and memory allows: more add little to tokens a second."""
MOST_SLOT_TOKENS = 4096
SHARE_OF_SLOTS = 1 / 2
SHARE_OF_PREFIXES = 1 / 8
"""Of the memory that is free, unless the config gives numbers."""


@dataclasses.dataclass(frozen=True)
class Wishes:
  """What a config says about slots; None: what fits. The fields of `inference`."""

  slots: int | None = None
  slot_tokens: int | None = None
  prefill_chunk: int = 64
  prefix_cache_tokens: int | None = None
  queue_limit: int = 1024

  @classmethod
  def of(cls, cfg):
    """Returns those of an InferenceConfig. Raises ConfigError for a chunk."""
    wishes = cls(**{f.name: getattr(cfg, f.name) for f in dataclasses.fields(cls)})
    require_none(list(wishes.problems()))
    return wishes

  def problems(self):
    chunk = self.prefill_chunk
    if chunk < 16 or chunk & (chunk - 1):
      yield Problem(
        'inference.prefill_chunk', f'={chunk}: expected a power of two, 16 or more'
      )


AS_FITS = Wishes()


@dataclasses.dataclass(frozen=True)
class Capacity:
  """The sizes of `slots.Slots`."""

  num_slots: int
  slot_tokens: int
  chunk: int
  num_blocks: int


def choose(
  wishes, *, longest, most_slots=None, shares_prefixes=True, token_bytes, free
):
  """Returns the Capacity for Wishes. Raises ConfigError where they do not fit.

  Args:
    longest: tokens of a text, prompt included, that a slot should be able to hold.
    most_slots: more would never be used; None: any number.
    shares_prefixes: False: no store, as no prompts begin alike.
    token_bytes: of a token in the cache.
    free: bytes of memory; None: unknown, as much as is asked for.
  """
  slot_tokens = wishes.slot_tokens or longest
  chunk = min(wishes.prefill_chunk, power_of_two(slot_tokens))
  slot_tokens += -slot_tokens % chunk
  slot_bytes = slot_tokens * token_bytes
  num_slots = max(1, count_slots(wishes, slot_bytes, free))
  num_slots = min(num_slots, most_slots or num_slots)
  tokens = wishes.prefix_cache_tokens
  if tokens is None:
    tokens = num_slots * slot_tokens
    if free is not None:
      left = max(0, free - num_slots * slot_bytes)
      tokens = int(min(tokens, min(left, SHARE_OF_PREFIXES * free) // token_bytes))
  num_blocks = tokens // chunk if shares_prefixes else 0
  asked = num_slots * slot_bytes + num_blocks * chunk * token_bytes
  if free is not None and asked > free:
    raise free_memory.shortage(
      f'{num_slots} slots of {slot_tokens:,} tokens and {num_blocks * chunk:,} tokens'
      ' of prefixes',
      asked,
      free,
      'Set inference.slots, inference.slot_tokens or inference.prefix_cache_tokens'
      ' lower.',
    )
  return Capacity(num_slots, slot_tokens, chunk, num_blocks)


def count_slots(wishes, slot_bytes, free):
  """Returns how many slots of `slot_bytes` there are to be, perhaps 0."""
  if wishes.slots is not None:
    return wishes.slots
  num_slots = SLOTS.get(jax.default_backend(), MOST_SLOTS)
  return (
    num_slots
    if free is None
    else min(num_slots, int(SHARE_OF_SLOTS * free // slot_bytes))
  )


def power_of_two(length):
  """Returns the least power of two from 16 on that is not below `length`."""
  return max(16, 1 << (int(length) - 1).bit_length())


def measured(cfg, dtype=None):
  """Returns `token_bytes` and `free` of `choose` for a model, here and now.

  `dtype` is that of the cache, as of `empty_cache`.
  """
  return dict(
    token_bytes=cache_memory.token_bytes(cfg, 1, dtype), free=cache_memory.free_bytes()
  )


def share_a_chunk(requests, chunk):
  """Returns whether two of `requests` read the same first chunk."""
  seen = set()
  for request in requests:
    if len(request.prompt_ids) <= chunk:  # the last token is not read with a chunk
      continue
    first = request.prompt_ids[:chunk].tobytes()
    if first in seen:
      return True
    seen.add(first)
  return False
