"""Sums of LoRA adapters over one base, as a run of its own (arXiv:2212.04089).

  cat     W + sum_i w_i s_i A_i B_i, exact: factors one after another, ranks add up
  linear  W + A B, A and B sums of the factors times sqrt(|w_i| s_i), the sign of w_i in
          A, as peft's `linear`: it has products of factors of different adapters, and
          is not the sum of the updates. Ranks have to agree

A weight below zero takes a task away. Biases move by the weighted sum of their moves;
a task head is that of the first run. The base is kept as it was for all of them: an
update that was learned beside kernels in few bits makes up for their rounding too.
"""

import contextlib
import dataclasses

import numpy as np

from gpt_jax import objectives
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import layer_names, lora_updates
from gpt_jax.peft.lora_updates import Update
from gpt_jax.program import new_run, restore, setup
from gpt_jax.program.adapted_checkpoints import (
  open_run,
  open_source,
  path_of_base,
)
from gpt_jax.program.adapted_run import AdaptedRun
from gpt_jax.program.base import RECORD, require_same_base
from gpt_jax.program.over_base import over_base
from gpt_jax.train import task_end
from gpt_jax.workdir.paths import Workdir


def combine(workdirs, weights, out, *, how='cat'):
  """Writes the weighted sum of the adapters of LoRA runs into the new workdir `out`.

  Returns {path of a linear map: rank}, of unrolled layers. Of each run its newest step
  is read, of a task the best one. Raises ConfigError for runs that cannot be summed,
  naming both fingerprints where bases differ; StorageError for an `out` that is not
  empty.
  """
  out = Workdir(out)
  new_run.require_new(out)
  if len(workdirs) != len(weights) or not workdirs:
    raise ConfigError(
      f'--weights: {len(weights)} for {len(workdirs)} adapters; give one for each, such'
      ' as --adapters=runs/a,runs/b --weights=0.7,0.3.'
    )
  with contextlib.ExitStack() as stack:
    runs = [_open(stack, workdir) for workdir in workdirs]
    for run in runs:
      _require_summable(runs[0], run)
    _require_same_storage(runs)
    updates = KINDS[how]([_updates_of(run) for run in runs], weights, workdirs)
    first = runs[0]
    config, leaves = lora_updates.write(
      first.config, updates, biases=_widest([one.config for one in runs])
    )
    config = dataclasses.replace(
      config, init=dataclasses.replace(config.init, transform='matching', rules=())
    )
    leaves |= _others(runs, weights, config)
    path = path_of_base(first.store) or first.base.source
    with open_source(path, first.base.dtype) as source:
      own, base = over_base(config, source, first.base.step, leaves, out)
    require_same_base(first.base, first.place, base, path)
    stored = dataclasses.replace(
      config.peft, base_storage=first.config.peft.base_storage
    )
    config = dataclasses.replace(config, peft=stored)
    _write(out, first, config, own, base, dict(zip(workdirs, weights, strict=True)))
  return {path: update.rank for path, update in updates.items()}


def has_task_head(workdir):
  """Returns whether the model of a run has a task head."""
  return objectives.describe(setup.read_config(workdir)).num_outputs > 0


def base_storage(workdir):
  """Returns `peft.base_storage` of a run."""
  return setup.read_config(workdir).peft.base_storage


def _open(stack, workdir):
  """Returns the AdaptedRun of a workdir."""
  config = setup.read_config(workdir)
  store = stack.enter_context(open_run(workdir))
  step = None
  if config.task.name:
    step = task_end.best_step(store, config.checkpoint.keep_best)
  step = restore.choose_step(store, step)
  rows = restore.embedding_rows(store, step)
  model = dataclasses.replace(config.model, vocab_size=rows)
  return AdaptedRun(store, dataclasses.replace(config, model=model), step, workdir)


def _require_summable(first, run):
  lora_updates.require_lora(run.config, run.place)
  if run.config.peft.options.dora:
    raise ConfigError(
      f'{run.place}: DoRA scales whole columns of W, so its update is no sum of two'
      ' factors; merge it instead (gpt-jax checkpoint merge).'
    )
  require_same_base(first.base, first.place, run.base, run.place)


def _require_same_storage(runs):
  """Raises ConfigError where updates were learned beside differently stored kernels."""
  found = {run.place: run.config.peft.base_storage for run in runs}
  if len(set(found.values())) > 1:
    shown = ', '.join(f'{value!r} in {place}' for place, value in found.items())
    raise ConfigError(
      f'peft.base_storage: {shown}; expected the same in all: an update learned beside'
      ' rounded kernels belongs to these, and no base would fit the sum. Train one of'
      ' them again with the value of the others.'
    )


def _updates_of(run):
  return lora_updates.read(run.config, run.read(lora_updates.names(run.config)))


def concatenated(each, weights, places):
  """Returns {path: Update} of the exact weighted sum of several {path: Update}."""
  del places
  found = {}
  for path in dict.fromkeys(path for updates in each for path in updates):
    parts = [
      (updates[path], weight)
      for updates, weight in zip(each, weights, strict=True)
      if path in updates
    ]
    a = np.concatenate([one.a for one, _ in parts], -1)
    scaled = [one.b * np.float32(weight * one.scale) for one, weight in parts]
    found[path] = Update(a, np.concatenate(scaled, 0), 1.0)
  return found


def linear(each, weights, places):
  """Returns {path: Update} of weighted sums of factors, as peft's `linear`."""
  found = {}
  for path in dict.fromkeys(path for updates in each for path in updates):
    parts = [updates.get(path) for updates in each]
    ranks = [0 if one is None else one.rank for one in parts]
    if len(set(ranks)) > 1:
      raise ConfigError(
        f'--how=linear: of {path} the ranks are {ranks} in'
        f' {", ".join(map(str, places))} (0: not a target); expected equal ones.'
        ' --how=cat takes any.'
      )
    roots = [
      np.float32((abs(weight) * one.scale) ** 0.5)
      for one, weight in zip(parts, weights, strict=True)
    ]
    a = [x.a * np.copysign(r, w) for x, r, w in zip(parts, roots, weights, strict=True)]
    b = [one.b * root for one, root in zip(parts, roots, strict=True)]
    found[path] = Update(np.sum(a, 0), np.sum(b, 0), 1.0)
  return found


KINDS = {'cat': concatenated, 'linear': linear}


def _widest(configs):
  order = ['none', 'targets', 'all']
  return max((one.peft.options.biases for one in configs), key=order.index)


def _others(runs, weights, config):
  """Returns {parameter: array, or function of the base's} of biases and a task head."""
  moved, head = {}, {}
  for run, weight in zip(runs, weights, strict=True):
    leaves = run.read(run.trained)
    for name, array in layer_names.unrolled_leaves(leaves).items():
      if not name.startswith('task_head/'):
        moved.setdefault(name, []).append((np.asarray(array, np.float32), weight))
      elif run is runs[0]:
        head[name] = array
  sums = {n: np.sum([w * one for one, w in each], 0) for n, each in moved.items()}
  totals = {n: np.float32(sum(w for _, w in each)) for n, each in moved.items()}
  if config.model.scan_layers:
    totals = {n: np.broadcast_to(totals[n], one.shape) for n, one in sums.items()}
    sums, totals = map(layer_names.stacked_leaves, (sums, totals))
  return head | {name: _moved_by(sums[name], totals[name]) for name in sums}


def _moved_by(weighted_sum, total_weight):
  return lambda base: weighted_sum + (1 - total_weight) * np.asarray(base, np.float32)


def _write(out, first, config, own, base, weights):
  record = load.to_dict(config)
  made_of = {str(place): float(weight) for place, weight in weights.items()}
  new_run.write(
    out,
    step=first.step,
    items={'params': pytree.nested(own)},
    meta=first.store.read_meta(first.step)
    | {RECORD: base.as_json(), 'config': record, 'combined': made_of},
    config=record,
    save_tokenizer=new_run.copied(Workdir(first.place).tokenizer),
    made_of=dict(combined=made_of),
  )
