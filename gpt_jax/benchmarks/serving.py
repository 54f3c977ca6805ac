"""Many requests of mixed lengths: continuous batching beside batches one after another.

`serving` gives them to the engine's slots, each of which takes the next request when
its text is over; `serving_batches` writes as many at a time, in the order they came,
and each batch lasts as long as its longest text. Both write the same tokens.
`first_token` is the time from a request to its first new token on idle slots; for
`first_token_prefix` all of its prompt but the last chunk was read for another one.
"""

import dataclasses
import functools
import itertools

import numpy as np

from gpt_jax.benchmarks import timing
from gpt_jax.inference import many, text
from gpt_jax.inference.request import Request

REQUESTS = 64
SLOTS = 16  # unless inference.slots says it
SHORTEST, LONGEST = 8, 256  # tokens of a prompt, and of what follows it


def cases(workload):
  """Returns the four cases; lengths are as the config's positions allow."""
  workload.require_text('serving')
  config = workload.config
  slots = config.inference.slots or SLOTS
  inference = dataclasses.replace(config.inference, slots=slots)
  engine = text.make_engine(
    dataclasses.replace(config, inference=inference),
    workload.state.params,
    workload.num_ids,
  )
  longest = min(LONGEST, config.model.max_seq_len // 2)
  if longest < SHORTEST:
    return [timing.Skipped('serving', f'model.max_seq_len={2 * longest} is too short')]
  sent = requests(workload.num_ids, longest, REQUESTS)
  return [
    *_throughput(engine, sent, slots),
    *_first_tokens(engine, workload.num_ids, longest),
  ]


def requests(num_ids, longest, number):
  """Returns Requests of mixed lengths, the same at every call.

  Prompts and texts are from SHORTEST to `longest` tokens, each doubling as likely: most
  are short and a few long, as those of people are.
  """
  rng = np.random.default_rng(0)
  logs_N2 = rng.uniform(np.log(SHORTEST), np.log(longest + 1), (number, 2))
  lengths_N2 = np.exp(logs_N2).astype(int)
  return [
    Request(prompt_ids=rng.integers(0, num_ids, prompt), max_new_tokens=int(new))
    for prompt, new in lengths_N2
  ]


def _throughput(engine, sent, slots):
  def continuous(times):
    for _ in range(times):
      many.write(engine, sent)

  def batches(times):
    for _ in range(times):
      for i in range(0, len(sent), slots):
        engine.write(sent[i : i + slots])

  tokens = sum(request.max_new_tokens for request in sent)
  for name, run in (('serving', continuous), ('serving_batches', batches)):
    seconds = timing.first_run_seconds(run)
    yield timing.Case(name, run, compile_seconds=seconds, tokens=tokens)


def _first_tokens(engine, num_ids, length):
  """Yields the times to the first token after `length` tokens, known or not."""
  scheduler = many.open_scheduler(engine, longest=2 * length)
  prompt = np.random.default_rng(1).integers(0, num_ids, length)
  counter = itertools.count()

  def run(times, place):
    for _ in range(times):
      ids, number = prompt.copy(), next(counter)
      # No prompt is sent twice; what is before the place of its number may be known.
      ids[place : place + 2] = number // num_ids % num_ids, number % num_ids
      handle = scheduler.submit(Request(prompt_ids=ids, max_new_tokens=2))
      next(iter(handle))
      handle.cancel()
      scheduler.run()

  for name, place in (('first_token', 0), ('first_token_prefix', length - 4)):
    timed = functools.partial(run, place=place)
    seconds = timing.first_run_seconds(timed)
    yield timing.Case(name, timed, compile_seconds=seconds)
