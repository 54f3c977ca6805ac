"""How many times as fast a compressed model decodes, beside the one it was made of."""

import math
import time

import numpy as np

from gpt_jax.benchmarks import timing
from gpt_jax.inference.request import make_requests

PROMPT, NEW = 16, 32
"""Tokens."""
SECONDS = 0.3
"""What a measurement takes at least: small models write 32 tokens in 3 ms."""


def decode_ratio(before, after, rounds=5):
  """Returns the Spread over rounds of time before / time after, of one text.

  `before`, `after`: Engines of models with the same ids. Timed are new tokens, less the
  first; rounds alternate, so that the drift of a machine cancels.
  """
  times = {'before': [], 'after': []}
  engines = {'before': before, 'after': after}
  for each in engines.values():
    _seconds(each, 1)  # compiles
  once = min(_seconds(each, 1) for each in engines.values())
  repeats = max(1, math.ceil(SECONDS / max(once, 1e-3)))
  for i in range(rounds):
    for name in sorted(engines, reverse=bool(i % 2)):
      times[name].append(_seconds(engines[name], repeats))
  pairs = zip(times['before'], times['after'], strict=True)
  return timing.spread([one / other for one, other in pairs])


def _seconds(engine, repeats):
  """Returns the seconds of the new tokens but for the first, of one text many times."""
  length = min(PROMPT, engine.table_len // 3)
  new = min(NEW, 2 * length)
  random = np.random.default_rng(0)
  prompt = random.integers(0, engine.vocab_limit, (1, int(length)), np.int32)
  found = []
  for tokens in (1, int(new)):
    start = time.perf_counter()
    for _ in range(repeats):
      engine.generate(make_requests(list(prompt), max_new_tokens=tokens))
    found.append(time.perf_counter() - start)
  return found[1] - found[0]
