"""Prefill and decoding, with the engine that `generate` uses.

`prefill` runs the prompt and samples one token. `decode` samples as many as the prompt
has, less the time of `prefill` in the same round: the cost of tokens after the first.
"""

import jax
import numpy as np

from gpt_jax.benchmarks import timing
from gpt_jax.core.errors import ConfigError
from gpt_jax.core.pytree import named_leaves
from gpt_jax.inference import text
from gpt_jax.inference.request import make_requests
from gpt_jax.model import flops

BATCH_SIZES = (1, 8)
LONGEST = 256  # tokens of prompt and continuation together


def cases(workload, batch_sizes=BATCH_SIZES):
  """Returns `prefill_B` and `decode_B` for each batch size B."""
  config = workload.config
  if not workload.program.objective.writes_text:
    raise ConfigError(
      f'objective.name={config.objective.name!r}: its model writes no text (it is'
      ' bidirectional or has a task head); leave decode out of --what.'
    )
  engine = text.make_engine(config, workload.state.params, workload.num_ids)
  half = prompt_length(config.data.seq_len)
  if half < 2:
    return [
      timing.Skipped('decode', f'data.seq_len={config.data.seq_len} is too short')
    ]
  found = []
  for rows_BT in prompts(workload, batch_sizes).values():
    found += _pair(engine, config, list(rows_BT), half)
  return found


def prompts(workload, batch_sizes=BATCH_SIZES):
  """Returns `{B: ids [B, prompt_length]}`, the same at every call."""
  half = prompt_length(workload.config.data.seq_len)
  rng = np.random.default_rng(0)
  return {
    rows: rng.integers(0, workload.num_ids, (rows, half), np.int32)
    for rows in batch_sizes
  }


def prompt_length(seq_len):
  # A power of two for both, so that the KV cache is as long for one token as for all.
  return max(1, min(1 << (seq_len.bit_length() - 1), LONGEST) // 2)


def token_bytes(config, engine_params, rows, cached):
  """Returns the bytes to read for one more token of each of `rows`.

  All weights but embeddings, which are looked up; keys and values of `cached` tokens.
  """
  model = config.model
  looked_up = ['position/'] if model.tie_embeddings else ['position/', 'embed/']
  weights = sum(
    leaf.nbytes
    for name, leaf in named_leaves(engine_params)
    if not name.startswith(tuple(looked_up))
  )
  width = np.dtype(jax.numpy.dtype(model.dtype)).itemsize
  row = 2 * model.num_layers * model.num_kv_heads * model.head_dim * width
  return weights + rows * cached * row


def _pair(engine, config, prompts, half):
  rows = len(prompts)

  def generate(tokens):
    def run(times):
      for _ in range(times):
        engine.generate(make_requests(prompts, max_new_tokens=tokens))

    return run

  prefill, decode = generate(1), generate(half)
  compile_seconds = timing.first_run_seconds(prefill)
  mean_cached = half + half / 2
  return [
    timing.Case(
      f'prefill_{rows}',
      prefill,
      compile_seconds=compile_seconds,
      tokens=rows * half,
      flops=rows * flops.forward_flops(config.model, half),
    ),
    timing.Case(
      f'decode_{rows}',
      decode,
      compile_seconds=0.0,
      tokens=rows * (half - 1),
      bytes=(half - 1) * token_bytes(config, engine.params, rows, mean_cached),
      minus=f'prefill_{rows}',
    ),
  ]
