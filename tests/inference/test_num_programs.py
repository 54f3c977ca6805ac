"""How many programs an engine compiles, whatever it is asked for."""

import numpy as np
import pytest

from gpt_jax.inference.capacity import Wishes
from gpt_jax.inference.request import Request
from gpt_jax.inference.settings import Sampling
from tests.inference.test_engine import engine_of, make

LONGEST = 32
BUCKETS = 2  # of lengths: 16 and 32
SLOTS = 2


def programs_of(engine):
  """Returns `{name: number of compiled programs}`."""
  holders = engine, engine.slot_programs, engine._scorer
  found = {
    name.lstrip('_'): value
    for holder in holders
    for name, value in vars(holder).items()
  }
  found |= {f'score_{key}': f for key, f in found.pop('programs').items()}
  return {
    name: value._cache_size()
    for name, value in found.items()
    if hasattr(value, '_cache_size') and value._cache_size()
  }


def ask(engine, rng):
  """Asks for one random thing of each kind."""
  requests = [random_request(rng) for _ in range(rng.integers(1, 2 * SLOTS + 1))]
  engine.write(requests)
  list(engine.stream(requests[0]))
  ids = rng.integers(0, 16, rng.integers(2, LONGEST))
  engine.score(ids[:1], ids[1:])
  engine.score_many([(ids[:1], [ids[1:], ids[:1]])])
  engine.text_log_probs(ids)
  engine.logits(ids[None])


def random_request(rng):
  prompt = rng.integers(0, 16, rng.integers(1, LONGEST // 2))
  sampling = Sampling(
    temperature=float(rng.integers(0, 2)), top_k=int(rng.integers(0, 4)),
    min_p=float(rng.choice([0, 0.1])), presence_penalty=float(rng.choice([0, 0.5])),
  )  # fmt: skip
  return Request(
    prompt_ids=prompt,
    max_new_tokens=int(rng.integers(1, LONGEST // 2)),
    sampling=sampling,
    stop_ids=tuple(range(rng.integers(0, 4))),
    log_probs=rng.choice([None, 2]),
    seed=int(rng.integers(0, 99)),
  )


@pytest.mark.slow
def test_an_engine_compiles_a_bounded_number_of_programs():
  config, params, _ = make()
  engine = engine_of(config, params, wishes=Wishes(slots=SLOTS, prefill_chunk=16))
  rng = np.random.default_rng(0)
  for _ in range(25):
    ask(engine, rng)
  found = programs_of(engine)
  # Of 1 to SLOTS rows; prompts are at most as long as the cache.
  assert found['prefill'] <= SLOTS * BUCKETS * (BUCKETS + 1) // 2
  assert found['decode'] <= SLOTS * BUCKETS
  assert all(count <= SLOTS * BUCKETS for name, count in found.items()), found
  for _ in range(25):
    ask(engine, rng)
  assert programs_of(engine) == found  # nothing was compiled
