"""A cache that does not fit is refused before it is allocated, and says what fits."""

import re

import jax
import numpy as np
import pytest

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import cache_memory
from gpt_jax.inference.engine import Engine, bucket
from gpt_jax.inference.request import Request, make_requests
from gpt_jax.model.cache import empty_cache
from gpt_jax.parallel import free_memory
from tests import small_models as small


@pytest.fixture(scope='module')
def engine():
  config = small.resolve(model__position='rope')
  model = small.make_gpt(config)
  return Engine(config.model, small.random_params(model), attend=model.attend)


def test_too_many_new_tokens_name_the_largest_number(engine, monkeypatch):
  prompts = [np.arange(5), np.arange(3)]
  whole = pytree.size_bytes(empty_cache(engine.cfg, 2, 64)['layers'])
  monkeypatch.setattr(free_memory, 'free_on', lambda device: whole + 1)
  monkeypatch.setattr(cache_memory, 'NEGLIGIBLE', 0)
  with pytest.raises(ConfigError, match='max_new_tokens=1000000000 after 5') as error:
    engine.generate(make_requests(prompts, max_new_tokens=10**9))
  places = bucket(10**9 + 5)
  assert f'asked for {free_memory.gib(whole // 64 * places)}' in str(error.value)
  largest = int(re.search(r'At most (\d+) new', str(error.value))[1])
  assert bucket(5 + largest) == 64 and bucket(5 + largest + 1) == 128
  cache_memory.require_fit(engine.cfg, prompts, largest, bucket(5 + largest))
  with pytest.raises(ConfigError, match='out of memory'):
    cache_memory.require_fit(engine.cfg, prompts, largest + 1, bucket(6 + largest))


def test_a_lack_of_memory_while_decoding_is_explained(engine, monkeypatch):
  def decode(*arguments, **options):
    raise jax.errors.JaxRuntimeError('INTERNAL: Out of memory allocating 99 bytes.')

  monkeypatch.setattr(engine, '_decode', decode)
  with pytest.raises(ConfigError, match='max_new_tokens=4 .* asked for 99 bytes'):
    list(engine.stream(Request(prompt_ids=np.arange(5), max_new_tokens=4)))
