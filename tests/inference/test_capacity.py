"""What a config asks for is what slots get, or what memory has room for."""

import jax
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import capacity
from gpt_jax.inference.capacity import Capacity, Wishes
from gpt_jax.inference.request import Request
from tests import small_models as small

MEMORY = dict(token_bytes=100, free=10**9)


def choose(wishes=None, longest=500, token_bytes=100, free=10**9, **options):
  wishes = wishes or Wishes()
  return capacity.choose(
    wishes, longest=longest, token_bytes=token_bytes, free=free, **options
  )


def test_the_config_decides_where_it_says_something():
  wishes = Wishes(slots=5, slot_tokens=300, prefill_chunk=32, prefix_cache_tokens=100)
  assert choose(wishes) == Capacity(5, slot_tokens=320, chunk=32, num_blocks=3)


def test_without_a_config_slots_hold_the_longest_text():
  found = choose(longest=500)
  assert found.num_slots == capacity.SLOTS[jax.default_backend()]
  assert found.slot_tokens == 512 and found.chunk == 64
  assert found.num_blocks == found.num_slots * 512 // 64
  assert choose(longest=20).chunk == choose(longest=20).slot_tokens == 32
  assert choose(most_slots=3).num_slots == 3
  assert choose(shares_prefixes=False).num_blocks == 0


def test_less_memory_gives_fewer_slots_and_blocks():
  # 512 tokens of 100 bytes are 51,200 bytes; half of the memory is for slots.
  found = choose(free=51_200 * 8)
  assert found == Capacity(4, slot_tokens=512, chunk=64, num_blocks=8)
  assert choose(free=51_200).num_slots == 1  # the rest is for prefixes, or none


def test_what_does_not_fit_is_said_before_it_is_allocated():
  with pytest.raises(ConfigError, match='8 slots of 512.*inference.slots'):
    choose(Wishes(slots=8), free=51_200)
  with pytest.raises(ConfigError, match='out of memory: 1 slots of 512'):
    choose(free=40_000)


def test_unknown_memory_is_enough():
  assert choose(free=None).num_slots == capacity.SLOTS[jax.default_backend()]


@pytest.mark.parametrize('chunk', [8, 48, 0])
def test_a_chunk_is_a_power_of_two(chunk):
  cfg = small.resolve(inference__prefill_chunk=chunk or 1).inference
  with pytest.raises(ConfigError, match='inference.prefill_chunk.*power of two'):
    Wishes.of(cfg)


def test_the_defaults_of_the_config_are_those_of_wishes():
  assert Wishes.of(small.resolve().inference) == Wishes()


def test_a_token_takes_what_the_cache_of_all_layers_holds():
  cfg = small.model_config(num_kv_heads=2)
  # 2 layers, keys and values, 2 heads of 4 float32 numbers.
  assert capacity.measured(cfg)['token_bytes'] == 2 * 2 * 2 * 4 * 4


def test_prompts_share_a_chunk_if_they_read_the_same():
  def requests(*lengths):
    return [
      Request(prompt_ids=np.ones(length, int), max_new_tokens=1) for length in lengths
    ]

  assert capacity.share_a_chunk(requests(17, 20), 16)
  assert not capacity.share_a_chunk(requests(16, 20), 16)
  assert not capacity.share_a_chunk(requests(17), 16)
