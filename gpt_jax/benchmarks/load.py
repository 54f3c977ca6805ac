"""Load on servers, from a closed loop and from an open one, and what it adds up to.

A closed loop has a number of clients, each of which asks again when it is answered: it
finds the most that servers can do. In an open loop requests come at a rate, at random
times, whether or not earlier ones are answered, as those of the public do: it finds
what they wait.
"""

import asyncio
import dataclasses
import itertools
import time
from typing import Any

import numpy as np

from gpt_jax.benchmarks import load_client

REFUSED = (429, 503)
MAX_OPEN = 512
"""Requests of an open loop that are under way at once; those beyond are not sent."""


@dataclasses.dataclass(frozen=True)
class Summary:
  """A loop in numbers; times are in seconds, over requests that were answered."""

  seconds: float
  requests: int
  answered: int
  refused: int
  """With 429 or 503, at once."""
  failed: int
  """Any other status, broken connections, time-outs."""
  unsent: int
  """Of an open loop, since MAX_OPEN were under way."""
  requests_per_second: float
  """Answered ones."""
  tokens_per_second: float
  first_token_p50: float
  first_token_p95: float
  request_p50: float
  request_p95: float
  by_address: dict[str, int]
  """Answered requests of each server."""


async def closed_loop(addresses, bodies, clients, **options: Any):
  """Returns the Summary of `clients` that send `bodies`, to addresses in turn.

  A refused client waits as it is told, at most a second, and sends the next one;
  `options` are those of `load_client.ask`.
  """
  turns, started = itertools.cycle(addresses), time.monotonic()
  todo, answers = iter(bodies), []

  async def client():
    for body in todo:
      answer = await load_client.ask(next(turns), body, **options)
      answers.append(answer)
      if answer.status in REFUSED:
        await asyncio.sleep(min(answer.retry_after, 1.0))

  await asyncio.gather(*(client() for _ in range(clients)))
  return summary(answers, time.monotonic() - started)


async def open_loop(addresses, bodies, rate, seed=0, **options: Any):
  """Returns the Summary of `bodies` sent at `rate` a second to addresses in turn.

  Times between requests are exponential (a Poisson process), the same for a seed.
  """
  gaps = np.random.default_rng(seed).exponential(1 / rate, len(bodies))
  turns, started = itertools.cycle(addresses), time.monotonic()
  tasks, unsent = [], 0
  for body, at in zip(bodies, np.cumsum(gaps), strict=True):
    await asyncio.sleep(max(0.0, started + at - time.monotonic()))
    if sum(not task.done() for task in tasks) >= MAX_OPEN:
      unsent += 1
      continue
    request = load_client.ask(next(turns), body, **options)
    tasks.append(asyncio.create_task(request))
  answers = await asyncio.gather(*tasks)
  return summary(answers, time.monotonic() - started, unsent)


def summary(answers, seconds, unsent=0):
  """Returns the Summary of Answers that came within `seconds`."""
  good = [one for one in answers if one.status == load_client.OK]
  refused = sum(one.status in REFUSED for one in answers)
  firsts = [g.first_token_seconds for g in good if g.first_token_seconds is not None]
  by_address = {}
  for one in good:
    by_address[one.address] = by_address.get(one.address, 0) + 1
  return Summary(
    seconds=seconds,
    requests=len(answers),
    answered=len(good),
    refused=refused,
    failed=len(answers) - len(good) - refused,
    unsent=unsent,
    requests_per_second=len(good) / seconds,
    tokens_per_second=sum(one.new_tokens for one in good) / seconds,
    first_token_p50=_quantile(firsts, 0.5),
    first_token_p95=_quantile(firsts, 0.95),
    request_p50=_quantile([one.seconds for one in good], 0.5),
    request_p95=_quantile([one.seconds for one in good], 0.95),
    by_address=by_address,
  )


def _quantile(values, q):
  return float(np.quantile(values, q)) if values else float('nan')


def make_bodies(model, count, *, longest, seed=0):
  """Returns `count` bodies of completions: prompts of words, mixed lengths.

  A prompt, and a text after it, has up to `longest` bytes and tokens, each doubling as
  likely: most are short and a few long, as those of people are.
  """
  rng = np.random.default_rng(seed)
  words = ['the', 'list', 'of', 'a', 'class', 'value', 'returns', 'with', 'each', 'one']
  sizes_N2 = np.exp(rng.uniform(np.log(4), np.log(longest), (count, 2))).astype(int)
  return [
    dict(
      model=model,
      prompt=' '.join(rng.choice(words, longest))[:prompt],
      max_tokens=int(new),
      seed=i,
    )
    for i, (prompt, new) in enumerate(sizes_N2)
  ]
