"""Text of eight rows with no adapter, with one, and with eight different ones.

`adapters_0` is the base, which a merged adapter costs as well; `adapters_1` one LoRA
adapter beside the base, its products shared by all rows; `adapters_8` eight, one a row
(`peft/batched.py`). Random ones of rank 8 on all linear maps; prompts are read and
tokens written as by `generate`.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gpt_jax import peft
from gpt_jax.benchmarks import decoding, timing
from gpt_jax.config.schema import PeftConfig
from gpt_jax.inference import text
from gpt_jax.inference.request import make_requests
from gpt_jax.model import stacking
from gpt_jax.peft import batched
from gpt_jax.peft.lora import LoraOptions

ROWS, RANK = 8, 8


def cases(workload):
  """Returns the three cases."""
  workload.require_text('adapters')
  config = workload.config
  if config.data.seq_len < decoding.SHORTEST:
    return [
      timing.Skipped('adapters', f'data.seq_len={config.data.seq_len} is too short')
    ]
  # All rows at once, however many slots the config has.
  inference = dataclasses.replace(config.inference, slots=ROWS)
  model = dataclasses.replace(config.model, scan_layers=False)
  config = dataclasses.replace(config, inference=inference, model=model)
  params = stacking.unstack(workload.state.params)
  names = [f'adapter_{i}' for i in range(ROWS)]
  one, leaves, factors = random_adapters(config, names)
  several, stacks = batched.make(model, factors)
  made = [
    (params, None, [None] * ROWS),
    (peft.with_leaves(params, leaves), one, [None] * ROWS),
    (peft.with_leaves(params, stacks), several, names),
  ]
  prompts = list(decoding.prompts(workload, (ROWS,))[ROWS])
  return [
    _case(f'adapters_{count}', workload, config, prompts, *each)
    for count, each in zip((0, 1, ROWS), made, strict=True)
  ]


def random_adapters(config, names):
  """Returns (LoRA Adapter, its leaves of the last name, {name: factors})."""
  options = LoraOptions(rank=RANK, targets='')
  asked = PeftConfig(name='lora', options=options, base_storage='as_is', init_from='')
  adapter = peft.make_adapter(dataclasses.replace(config, peft=asked))
  assert adapter and adapter.factors
  leaves, factors = {}, {}
  for seed, name in enumerate(names):
    # B is no zero, or compilers and texts might find out.
    leaves = {
      each: leaf + 1e-3 * jax.random.normal(jax.random.key(seed), leaf.shape)
      for each, leaf in adapter.init(seed).items()
    }
    factors[name] = adapter.factors(leaves)
  return adapter, jax.tree.map(jnp.asarray, leaves), factors


def _case(name, workload, config, prompts, params, adapter, names):
  engine = text.make_engine(config, params, workload.num_ids, adapter=adapter)
  _, new = decoding.lengths(config.data.seq_len)
  requests = make_requests(prompts, max_new_tokens=new, adapter=names)

  def run(times):
    for _ in range(times):
      engine.generate(requests)

  seconds = timing.first_run_seconds(run)
  return timing.Case(name, run, compile_seconds=seconds, tokens=len(prompts) * new)
