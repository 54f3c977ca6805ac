"""Many requests at once: a scheduler for a server, lists longer than the slots."""

import dataclasses
from typing import Any

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import capacity, pace
from gpt_jax.inference.decode import CHUNK
from gpt_jax.inference.request import identities
from gpt_jax.inference.scheduler import Scheduler
from gpt_jax.inference.slots import Slots


def open_scheduler(engine, *, longest=None):
  """Returns the Scheduler of a server, with slots as the engine's Wishes say.

  `longest`: tokens of a request, prompt included, that a slot can hold unless
  `inference.slot_tokens` says it; None: model.max_seq_len, 4,096 at most.
  """
  if not engine.has_slots:
    raise ConfigError(
      'inference.draft: a scheduler writes without drafts, other texts where they are'
      ' drawn; set inference.draft="".'
    )
  longest = longest or min(engine.cfg.max_seq_len, capacity.MOST_SLOT_TOKENS)
  memory: Any = capacity.measured(engine.cfg, engine.cache_dtype)
  sizes = capacity.choose(engine.wishes, longest=longest, **memory)
  return Scheduler(
    Slots(engine, sizes),
    queue_limit=engine.wishes.queue_limit,
    seconds_per_step=pace.SECONDS,
  )


def needs_slots(engine, requests):
  """Returns whether `requests` are more than are written at a time.

  Texts that outgrow a table of positions begin anew, together: no slot can do that.
  """
  if len(requests) < 2 or not engine.has_slots:
    return False
  if _longest(requests) - 1 > engine.table_len:
    return False
  memory: Any = capacity.measured(engine.cfg, engine.cache_dtype)
  slot_bytes = capacity.power_of_two(_longest(requests)) * memory['token_bytes']
  # Where not even one fits, the batch says what would.
  return (
    0 < capacity.count_slots(engine.wishes, slot_bytes, memory['free']) < len(requests)
  )


def write(engine, requests, on_end=None):
  """Returns the WrittenText of each Request; calls `on_end(i, text)` as they end."""
  found: list[Any] = [None] * len(requests)
  slots = Slots(engine, _capacity(engine, requests))
  # Nobody waits for the first token of one text while others are read.
  freely: Any = dict(queue_limit=None, tokens_per_step=CHUNK, chunks_per_step=None)
  with Scheduler(slots, **freely) as scheduler:
    # The longest first, so that none is left to be written alone.
    order = sorted(range(len(requests)), key=lambda i: -requests[i].max_new_tokens)
    samples = identities(requests)[:, 1]
    handles = {i: scheduler.submit(requests[i], sample=int(samples[i])) for i in order}
    while handles:
      scheduler.step()
      for i in [i for i, handle in handles.items() if handle.ended]:
        found[i] = handles.pop(i).result()
        if on_end is not None:
          on_end(i, found[i])
  return found


def _capacity(engine, requests):
  wishes = dataclasses.replace(engine.wishes, slot_tokens=None)
  return capacity.choose(
    wishes,
    longest=capacity.power_of_two(_longest(requests)),
    most_slots=len(requests),
    shares_prefixes=capacity.share_a_chunk(requests, wishes.prefill_chunk),
    **capacity.measured(engine.cfg, engine.cache_dtype),
  )


def _longest(requests):
  return max(len(r.prompt_ids) + r.max_new_tokens for r in requests)
