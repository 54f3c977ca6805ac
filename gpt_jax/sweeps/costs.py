"""What a run cost: parameters, tokens, FLOPs and seconds, from its workdir alone."""

import contextlib
import datetime
import io
import json

import numpy as np

from gpt_jax.config.schema import Config
from gpt_jax.model import flops as model_flops
from gpt_jax.program import horizon, setup
from gpt_jax.tracking import metrics_file
from gpt_jax.workdir import files, provenance
from gpt_jax.workdir.paths import Workdir


def parameters(config):
  """Returns the number of parameters of the run's language model, an exact int."""
  return model_flops.parameter_count(config.model)


def trained_parameters(config):
  """Returns how many of them, and of those that an adapter adds, train.

  Those that optimizer.groups or train_last_layers freeze count as trained.
  """
  if not config.peft.name:
    return parameters(config)
  # `gpt-jax status` reads costs, and should not wait for libraries of checkpoints.
  from gpt_jax import peft
  from gpt_jax.core import pytree
  from gpt_jax.program import adapted_run

  adapter = peft.make_adapter(config)
  assert adapter
  leaves = pytree.named_leaves(adapted_run.abstract_params(config, adapter))
  return sum(leaf.size for name, leaf in leaves if not adapter.is_frozen(name))


def tokens(config):
  """Returns the tokens of the whole training, an exact int."""
  return horizon.make_horizon(config.train, config.data.seq_len).total_tokens


def flops(config):
  """Returns the FLOPs of the training's matmuls: those of a token times `tokens`.

  Every query counts with all keys of its row; recomputation does not count.
  """
  per_token = model_flops.flops_per_token(config.model, config.data.seq_len)
  return per_token * tokens(config)


OF_CONFIG = {'parameters': parameters, 'tokens': tokens, 'flops': flops}
"""name -> function of a Config."""
COSTS = (*OF_CONFIG, 'seconds')
"""Metrics that every result has."""


def intervals(workdir):
  """Returns [(begin, end), ...] of the run's starts, in seconds since 1970.

  A start counts from its entry in run.json to its last line in metrics.jsonl:
  compilation, evaluations and checkpoints are in, steps that were lost are not.
  """
  workdir = Workdir(workdir)
  if not workdir.metrics.exists():
    return []
  begins = sorted(
    datetime.datetime.fromisoformat(start['time']).timestamp()
    for start in provenance.read_starts(workdir)
  )
  times = [line['time'] for line in metrics_file.read_lines(workdir.metrics)]
  found = []
  for begin, following in zip(begins, [*begins[1:], float('inf')], strict=False):
    own = [time for time in times if begin <= time < following]
    if own:
      found.append((begin, max(own)))
  return found


def seconds(workdir):
  """Returns how long the run in `workdir` was at work, between its starts aside."""
  return float(sum(end - begin for begin, end in intervals(workdir)))


def seconds_at(parts, times):
  """Returns the seconds of the intervals `parts` that lie before each of `times`."""
  return np.array(
    [sum(max(0.0, min(time, end) - begin) for begin, end in parts) for time in times]
  )


def union_seconds(parts):
  """Returns the seconds that at least one of the intervals `parts` covers."""
  total, reached = 0.0, -float('inf')
  for begin, end in sorted(parts):
    total += max(0.0, end - max(begin, reached))
    reached = max(reached, end)
  return total


def read_config(workdir):
  """Returns a Config that costs the same as that of the run in `workdir`."""
  saved = files.read_json(Workdir(workdir).config)
  # Points differ in seeds and rates: most share what costs depend on.
  parts = {name: value for name, value in saved.items() if name not in _FREE}
  key = json.dumps(parts, sort_keys=True)
  if key not in _CONFIGS:
    with contextlib.redirect_stderr(io.StringIO()):  # notes on earlier versions
      _CONFIGS[key] = setup.read_config(workdir)
  return _CONFIGS[key]


_FREE = ('seed', 'optimizer', 'schedule', 'init_from', 'logging', 'checkpoint', 'eval')
"""Sections of a config that change none of the costs."""
_CONFIGS: dict[str, Config] = {}
