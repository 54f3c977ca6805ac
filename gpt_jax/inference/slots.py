"""A fixed number of rows that write texts, each on its own, and a store of prefixes.

What `scheduler.py` drives. Shapes never change, so the number of programs does not grow
with the requests, and a text is computed by the same programs in any company.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import decode, placement, rows
from gpt_jax.inference.capacity import power_of_two
from gpt_jax.inference.request import Request, identities
from gpt_jax.inference.writing import Writing
from gpt_jax.model import positions
from gpt_jax.model.cache import empty_cache

NUM_STOPS = 4
"""Stop ids of a row that its device knows; of more, the host ends the text a little
later."""
NOTHING = Request(prompt_ids=[0], max_new_tokens=0)
"""What a slot without a text is asked for."""


class Slots:
  """Rows of a DecodeState, each of which is reading a prompt, writing, or free."""

  def __init__(self, engine, capacity):
    """Takes an Engine, and a Capacity for its model.

    On a mesh there are as many slots as divide over it. A 'prefix' model reads a prompt
    at once, as its tokens see each other, and shares no blocks.
    """
    self.slot_tokens, self.chunk = capacity.slot_tokens, capacity.chunk
    self.num_blocks = capacity.num_blocks
    self.reads_whole_prompts = engine.visibility == 'prefix'
    if self.reads_whole_prompts:
      self.chunk, self.num_blocks = self.slot_tokens, 0
    self._shards = engine.rules.num_shards('batch') if engine.rules else 1
    self.num_slots = capacity.num_slots + -capacity.num_slots % self._shards
    self._engine, self._programs = engine, engine.slot_programs
    self._state: Any = None
    self._store: Any = None
    self.reset()

  def reset(self):
    """Empties all slots and the store."""
    self.close()
    nothing = self._first([NOTHING] * self.num_slots)
    state = self._programs.empty(*nothing, slot_tokens=self.slot_tokens)
    self._state = placement.committed(state)
    if self.num_blocks:
      store = self._programs.empty_store(
        num_blocks=self.num_blocks, block_tokens=self.chunk
      )
      self._store = placement.committed(store)

  def close(self):
    """Frees the memory."""
    self._state = self._store = None
    self._texts = [Writing(NOTHING)] * self.num_slots

  def require_fit(self, request):
    """Raises ConfigError for a Request that no slot can take."""
    self._engine.require_writable([request])
    # The last token is written, never read.
    tokens = len(request.prompt_ids) + request.max_new_tokens - 1
    limit = min(self.slot_tokens, self._engine.table_len)
    if tokens > limit:
      raise ConfigError(
        f'max_new_tokens={request.max_new_tokens} after a prompt of'
        f' {len(request.prompt_ids)} tokens: {tokens} places, but a slot has {limit};'
        ' shorten one of them'
        + (
          f': {positions.describe_end(self._engine.cfg, self._engine.num_virtual)}.'
          if limit == self._engine.table_len
          else ', or raise inference.slot_tokens.'
        )
      )

  def compile_all(self):
    """Runs each program that requests may need once, while all slots are free.

    Afterwards no request waits for a compilation, whatever its length.
    """
    sizes = [16 << i for i in range((self.chunk // 16).bit_length())]
    for size in sizes:
      self.read(0, 0, [0] * size)
    start = self.chunk
    while start + self.chunk <= self.slot_tokens:
      self.read(0, start, [0] * self.chunk)
      start *= 2
    if self.num_blocks:
      self.save(0, 0, 0)
      self.load(0, 0, [0])
    self.start(0, Writing(dataclasses.replace(NOTHING, max_new_tokens=1)), 0)
    self.write(1)
    self.stop(0)

  def read(self, slot, start, ids, adapter=None):
    """Reads up to `chunk` ids of a prompt, its tokens from `start` on."""
    # Padded by rules that know this prompt only. Few programs: the length of a chunk
    # varies at the beginning, how much is before it varies behind.
    size = self.chunk if start else min(self.chunk, power_of_two(len(ids)))
    places = min(self.slot_tokens, power_of_two(start + size))
    tokens_RT = np.zeros((self._shards, size), np.int32)
    tokens_RT[0, : len(ids)] = ids
    # The first row is this one; others, which a mesh wants, stand for none.
    others = self._shards - 1
    slot_R = np.array([slot, *[self.num_slots] * others], np.int32)
    start_R = np.array([start, *[0] * others], np.int32)
    count_R = np.array([len(ids), *[1] * others], np.int32)
    prefix_R = count_R if self.reads_whole_prompts else None
    params = self._engine.params_of([adapter] * self._shards)
    self._set_cache(
      self._programs.read(
        params, self._state.cache, tokens_RT, slot_R, start_R, count_R,
        prefix_R, places=places,
      )
    )  # fmt: skip

  def save(self, slot, start, block):
    """Copies the chunk from `start` on, just read, to a block of the store."""
    self._store = self._programs.save(
      self._state.cache, self._store, slot, start, block, block_tokens=self.chunk
    )

  def load(self, slot, start, blocks):
    """Copies blocks of the store to the places from `start` on, as if read."""
    for block in blocks:
      self._set_cache(
        self._programs.load(
          self._state.cache, self._store, slot, start, block, block_tokens=self.chunk
        )
      )
      start += self.chunk

  def start(self, slot, writing, sample):
    """Lets a slot that has read its prompt write; `sample` as of Scheduler.submit."""
    request = writing.request
    stops = request.stop_ids[:NUM_STOPS]
    first = self._first([dataclasses.replace(request, stop_ids=stops)], sample)
    length = len(request.prompt_ids) - 1
    self._state = self._programs.start(self._state, slot, length, *first)
    self._texts[slot] = writing

  def stop(self, slot):
    """Makes a slot free."""
    self._texts[slot] = Writing(NOTHING)

  def take_out(self, slot):
    """Returns a copy, on the host, of a slot that writes."""
    return jax.device_get(self._programs.take_out(self._state, slot)), self._texts[slot]

  def put_back(self, slot, saved):
    """Lets a free slot go on with what `take_out` returned."""
    row, self._texts[slot] = saved
    self._state = self._programs.put_back(self._state, row, slot)

  def write(self, limit):
    """Writes up to `limit` tokens of each text; the Writings take them."""
    self._state, _, _ = self._engine.advance(self._state, self._texts, limit)

  def _set_cache(self, cache):
    self._state = dataclasses.replace(self._state, cache=cache)

  def _first(self, requests, sample=0):
    """Returns what `decode.begin` takes for rows of `requests`."""
    identity_B2 = identities(requests)
    identity_B2[:, 1] = sample
    return self._engine.row_inputs(requests, identity_B2, self.slot_tokens)


class Programs:
  """The compiled programs of an Engine's slots, of any number and length."""

  def __init__(self, engine):
    cfg, rules = engine.model.cfg, engine.model.rules
    dtype = engine.cache_dtype
    vocab_size = dict(vocab_size=cfg.vocab_size)
    self.empty = _jit(_empty, 'slot_tokens', cfg=cfg, rules=rules, dtype=dtype)
    self.read = _jit(_read, 'places', donate=1, model=engine.model)
    self.start = _jit(_start, donate=0, **vocab_size)
    self.take_out = _jit(_take_out)
    self.put_back = _jit(_put_back, donate=0)
    sizes = 'num_blocks', 'block_tokens'
    self.empty_store = _jit(
      functools.partial(rows.empty_store, cfg, dtype=dtype), *sizes
    )
    self.save = _jit(rows.save_block, 'block_tokens', donate=1)
    self.load = _jit(rows.load_block, 'block_tokens', donate=0)


def _jit(function, *static, donate=(), **fixed):
  # A function of its own each time: engines do not count each other's programs.
  return jax.jit(
    functools.partial(function, **fixed), static_argnames=static, donate_argnums=donate
  )


def _empty(tokens_BT, *streams, slot_tokens, cfg, rules, dtype):
  """Returns the DecodeState of rows that write nothing."""
  cache = empty_cache(cfg, len(tokens_BT), slot_tokens, dtype)
  layers = [
    {name: block.constrain(rules) for name, block in group.items()}
    for group in cache['layers']
  ]
  state = decode.begin(tokens_BT, *streams, vocab_size=cfg.vocab_size)
  return dataclasses.replace(state, cache=cache | {'layers': layers})


def _read(params, cache, *chunk, model, places):
  return decode.extend(params, cache, *chunk, model=model, places=places)[0]


def _start(state, slot, length, *first, vocab_size):
  """Returns `state` whose row `slot` writes on after `length` tokens in its cache."""
  length_B = state.cache['length_B'].at[slot].set(length)
  row = jax.tree.map(lambda leaf: leaf[:1], decode.begin(*first, vocab_size=vocab_size))
  others = dataclasses.replace(state, cache=None)
  others = rows.put(others, row, jnp.array([slot]))
  return dataclasses.replace(others, cache=state.cache | {'length_B': length_B})


def _take_out(state, slot):
  row = rows.take(state, jnp.array([slot]))
  # As numbers, which the host can hold.
  return dataclasses.replace(row, rng_B=jax.random.key_data(row.rng_B))


def _put_back(state, row, slot):
  row = dataclasses.replace(row, rng_B=jax.random.wrap_key_data(row.rng_B))
  return rows.put(state, row, jnp.array([slot]))
