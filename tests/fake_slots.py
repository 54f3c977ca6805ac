"""Slots without a model: a text goes on by a hash of all that is in its row."""

import zlib
from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError

VOCAB = 50
EMPTY = -1


def next_id(ids, seed, sample, count):
  """Returns the id after `ids`, the `count`-th new one."""
  content = np.array([*ids, seed, sample, count], np.int64)
  return zlib.crc32(content.tobytes()) % VOCAB


def text_of(request, sample=0):
  """Returns the new ids of `request`, alone in the world, up to and without a stop."""
  ids = [int(i) for i in request.prompt_ids]
  for count in range(request.max_new_tokens):
    new = next_id(ids, request.seed, sample, count)
    if new in request.stop_ids:
      break
    ids.append(new)
  return ids[len(request.prompt_ids) :]


class FakeSlots:
  """The interface of `inference.slots.Slots`; a place of a row holds its token.

  As on a device, rows that write nothing get garbage where their next token goes.
  """

  def __init__(self, num_slots=3, slot_tokens=64, chunk=4, num_blocks=6):
    self.num_slots, self.slot_tokens = num_slots, slot_tokens
    self.chunk, self.num_blocks = chunk, num_blocks
    self.reads_whole_prompts = False
    self.calls = []
    self.fails_at_call = None
    self.reset()

  def reset(self):
    self._rows = np.full((self.num_slots, self.slot_tokens), EMPTY)
    self._blocks = np.full((self.num_blocks, self.chunk), EMPTY)
    self._lengths = [0] * self.num_slots
    # Of each slot (Writing, sample, last id, count).
    self._texts: list[Any] = [None] * self.num_slots

  def close(self):
    self.calls.append(('close', None))

  def require_fit(self, request):
    if len(request.prompt_ids) + request.max_new_tokens - 1 > self.slot_tokens:
      raise ConfigError('the request is longer than a slot.')

  def read(self, slot, start, ids, adapter=None):
    self._call('read', slot)
    assert 0 < len(ids) <= self.chunk and start % self.chunk == 0
    assert self._texts[slot] is None
    self._rows[slot, start : start + len(ids)] = ids
    self._lengths[slot] = start + len(ids)

  def save(self, slot, start, block):
    self._call('save', slot)
    self._blocks[block] = self._rows[slot, start : start + self.chunk]
    assert EMPTY not in self._blocks[block]

  def load(self, slot, start, blocks):
    self._call('load', slot)
    assert start % self.chunk == 0 and self._texts[slot] is None
    for block in blocks:
      self._rows[slot, start : start + self.chunk] = self._blocks[block]
      start += self.chunk
    self._lengths[slot] = start

  def start(self, slot, writing, sample):
    self._call('start', slot)
    prompt_ids = writing.request.prompt_ids
    self._lengths[slot] = len(prompt_ids) - 1
    self._texts[slot] = (writing, sample, int(prompt_ids[-1]), 0)

  def stop(self, slot):
    self._call('stop', slot)
    self._texts[slot] = None

  def take_out(self, slot):
    self._call('take_out', slot)
    return self._rows[slot].copy(), self._lengths[slot], self._texts[slot]

  def put_back(self, slot, saved):
    self._call('put_back', slot)
    self._rows[slot], self._lengths[slot], self._texts[slot] = saved

  def write(self, limit):
    self._call('write', None)
    assert limit > 0
    for slot in range(self.num_slots):
      if self._texts[slot] is None:
        self._spoil(slot)
      else:
        self._write_row(slot, limit)

  def _write_row(self, slot, limit):
    writing, sample, last, count = self._texts[slot]
    for _ in range(limit):
      if writing.finish:
        break
      self._rows[slot, self._lengths[slot]] = last
      self._lengths[slot] += 1
      row = self._rows[slot, : self._lengths[slot]]
      last = next_id(row, writing.request.seed, sample, count)
      count += 1
      writing.take([last])
    self._texts[slot] = (writing, sample, last, count)

  def _spoil(self, slot):
    if self._lengths[slot] < self.slot_tokens:
      self._rows[slot, self._lengths[slot]] = EMPTY

  def _call(self, name, slot):
    self.calls.append((name, slot))
    if len(self.calls) == self.fails_at_call:
      raise RuntimeError('the device is gone')
