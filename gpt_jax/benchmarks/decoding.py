"""Prefill and decoding, with the engine that `generate` uses.

`prefill` runs the prompt and samples one token. `decode` samples all tokens, less the
time of `prefill` in the same round: the cost of tokens after the first. `long_prompt`
is the time to the first token of one that is long. A model of another dtype is timed in
float32 too, in the same rounds, and one whose weights are in few bits in full.
"""

import dataclasses

import numpy as np

from gpt_jax.benchmarks import timing
from gpt_jax.core.pytree import named_leaves
from gpt_jax.inference import text
from gpt_jax.inference.request import make_requests
from gpt_jax.model import flops
from gpt_jax.model.cache import bytes_of_row
from gpt_jax.model.gpt import TRANSPOSED
from gpt_jax.quantization import packed

BATCH_SIZES = (1, 8, 32)
PROMPT, NEW, LONG_PROMPT = 64, 128, 512
"""Tokens, where the sequences of a config are that long."""
SHORTEST = 6


def cases(workload, batch_sizes=BATCH_SIZES, *, beside_float32=True):
  """Returns `prefill_B`, `decode_B` for each batch size B, and `long_prompt`.

  Those in float32 beside another dtype end in `_float32`, those of weights in full
  beside few bits in `_full`.
  """
  workload.require_text('decode')
  config = workload.config
  if config.data.seq_len < SHORTEST:
    return [
      timing.Skipped('decode', f'data.seq_len={config.data.seq_len} is too short')
    ]
  kinds = dtypes(config) if beside_float32 else {config.model.dtype: ''}
  models = [
    (dataclasses.replace(config.model, dtype=dtype), workload.state.params, ending)
    for dtype, ending in kinds.items()
  ]
  found = []
  for model, params, ending in models + _in_full(models[0]):
    # All rows at once, however many slots the config has.
    inference = dataclasses.replace(config.inference, slots=max(batch_sizes))
    timed = dataclasses.replace(config, model=model, inference=inference)
    engine = text.make_engine(timed, params, workload.num_ids)
    for rows_BT in prompts(workload, batch_sizes).values():
      found += _pair(engine, timed, list(rows_BT), ending)
    found.append(_long_prompt(engine, timed, long_prompt_ids(workload), ending))
  return found


def _in_full(model):
  """Returns [(model, parameters, ending)] in full of one in few bits, else []."""
  cfg, params, _ = model
  full = packed.in_full_model(cfg)
  if full == cfg:
    return []
  return [(full, packed.unpacked(params, cfg.param_dtype), '_full')]


def dtypes(config):
  """Returns `{dtype to time: ending of its cases' names}`."""
  return {config.model.dtype: ''} | (
    {} if config.model.dtype == 'float32' else {'float32': '_float32'}
  )


def prompts(workload, batch_sizes=BATCH_SIZES):
  """Returns `{B: ids [B, tokens of a prompt]}`, the same at every call."""
  length, _ = lengths(workload.config.data.seq_len)
  return {rows: _random_ids(workload, rows, length) for rows in batch_sizes}


def long_prompt_ids(workload):
  """Returns the ids [1, T] of `long_prompt`, the same at every call."""
  length = min(LONG_PROMPT, workload.config.data.seq_len - 1)
  return _random_ids(workload, 1, length)


def _random_ids(workload, rows, length):
  rng = np.random.default_rng(0)
  return rng.integers(0, workload.num_ids, (rows, length), np.int32)


def lengths(seq_len):
  """Returns how many tokens a prompt has, and how many are written after it."""
  prompt = min(PROMPT, seq_len // 3)
  return prompt, min(NEW, 2 * prompt)


def token_bytes(config, engine_params, rows, cached):
  """Returns the bytes to read for one more token of each of `rows`.

  All weights but embeddings, which are looked up; keys and values of `cached` tokens.
  """
  model = config.model
  not_read = [f'embed/{TRANSPOSED}', 'position/']  # the first is the head once more
  if not model.tie_embeddings:
    not_read.append('embed/')
  weights = sum(
    leaf.nbytes
    for name, leaf in named_leaves(engine_params)
    if not name.startswith(tuple(not_read))
  )
  return weights + rows * bytes_of_row(model, int(cached))


def _pair(engine, config, prompts, ending):
  rows = len(prompts)
  length, new = lengths(config.data.seq_len)
  prefill, decode = (_generating(engine, prompts, tokens) for tokens in (1, new))
  compile_seconds = timing.first_run_seconds(prefill)
  return [
    timing.Case(
      f'prefill_{rows}{ending}',
      prefill,
      compile_seconds=compile_seconds,
      tokens=rows * length,
      flops=rows * flops.forward_flops(config.model, length),
    ),
    timing.Case(
      f'decode_{rows}{ending}',
      decode,
      compile_seconds=timing.first_run_seconds(decode),
      tokens=rows * (new - 1),
      bytes=(new - 1) * token_bytes(config, engine.params, rows, length + new / 2),
      minus=f'prefill_{rows}{ending}',
    ),
  ]


def _long_prompt(engine, config, prompt_1T, ending):
  run, length = _generating(engine, list(prompt_1T), 1), prompt_1T.shape[1]
  return timing.Case(
    f'long_prompt{ending}',
    run,
    compile_seconds=timing.first_run_seconds(run),
    tokens=length,
    flops=flops.forward_flops(config.model, length),
  )


def _generating(engine, prompts, tokens):
  def run(times):
    for _ in range(times):
      engine.generate(make_requests(prompts, max_new_tokens=tokens))

  return run
