"""Adapters of finished runs over one base: read, compared with it, put together."""

import dataclasses
from typing import Any

import jax

from gpt_jax import objectives, peft
from gpt_jax.checkpoints.reader import CheckpointReader
from gpt_jax.core import array_checksums, pytree
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.model import stacking
from gpt_jax.peft import batched
from gpt_jax.program import adapted_checkpoints, restore, setup
from gpt_jax.program.base import Base
from gpt_jax.workdir import path_lists
from gpt_jax.workdir.paths import Workdir

ALONE = 'generate with that run alone'
OWN = (
  'dropout', 'embed_dropout', 'attention_dropout', 'residual_dropout',
  'stochastic_depth', 'remat', 'scan_layers', 'dtype', 'param_dtype', 'init',
  'init_std', 'max_seq_len', 'vocab_size', 'pad_vocab_to_multiple_of',
)  # fmt: skip
"""Fields of model that change how a run trains or stores, and nothing that it writes;
those of sizes, which checksums compare."""
OTHERS = (('data', 'begin_token'), ('attention', 'scale'), ('attention', 'softcap'))
"""Fields of other sections that change it."""


def parse(text):
  """Returns {name: path} of 'news=runs/a,poems=runs/b'; ConfigError for other texts."""
  found = {}
  for part in path_lists.split(text, lambda part: part.partition('=')[2]):
    name, equals, path = part.partition('=')
    if not (name and equals and path):
      raise ConfigError(
        f'adapters={text!r}: expected NAME=RUN,NAME=RUN, such as'
        ' news=runs/lora_a,poems=runs/lora_b.'
      )
    if name in found:
      raise ConfigError(
        f'adapters: two are named {name!r}, {found[name]} and {path}; give each its own'
        ' name.'
      )
    found[name] = path
  return found


def attach(path, step, config, params, tokenizer, adapters, rules=None):
  """Returns (Config, parameters, BatchedAdapter) of a base with `{name: run}` over it.

  Layers are apart in all of them. Raises ConfigError for an adapter that has no form
  for this, CheckpointError for one of another base.

  Args:
    path, step: where `params` are from.
    rules: where they lie on a mesh; None: on one device.
  """
  if not adapters or not all(isinstance(name, str) and name for name in adapters):
    raise ConfigError(f'adapters={adapters!r}: expected {{name: run}}, at least one.')
  if config.inference.draft or config.inference.exit_measure != 'none':
    name = 'draft' if config.inference.draft else 'exit_measure'
    raise ConfigError(
      f'inference.{name}={getattr(config.inference, name)!r}: not with several adapters'
      ' at once; set it to its default, or load each run alone.'
    )
  known, factors = [], {}
  for name, run in adapters.items():
    try:
      factors[name] = _read(run, path, step, config, tokenizer, known)
    except (CheckpointError, ConfigError) as error:
      raise type(error)(f'adapter {name!r}: {error}') from error
  model = dataclasses.replace(config.model, scan_layers=False)
  adapter, stacks = batched.make(model, factors)
  if rules is not None:
    stacks = {
      name: jax.device_put(stack, rules.sharding(adapter.added[name].axes))
      for name, stack in stacks.items()
    }
  params = peft.with_leaves(stacking.unstack(params), stacks)
  return dataclasses.replace(config, model=model), params, adapter


def _read(run, path, step, base_config, tokenizer, known):
  """Returns the factors of the run's adapter; `known`: Bases that were compared."""
  workdir = Workdir(run)
  if not workdir.config.exists() or not workdir.checkpoints.exists():
    raise CheckpointError(
      f'{run}: no run with checkpoints; expected the workdir of a run with'
      " peft.name='lora' (gpt-jax train --config.peft.name=lora)."
    )
  config = setup.read_config(workdir.path)
  kept = config.checkpoint
  best = kept.best_metric, kept.keep_best, kept.best_mode
  with CheckpointReader(workdir.checkpoints, *best) as store:
    saved = store.best_step() if config.task.name and kept.keep_best else None
    saved = restore.choose_step(store, saved)
    restore.check_tokenizer(store, saved, tokenizer)
    base = Base.of_step(store, saved)
    if base is None:
      raise CheckpointError(
        f'{run}: step {saved} holds a whole model and no adapter; expected a run with'
        " peft.name='lora', or load it as the base."
      )
    # Its vocabulary is that of the base, which `config.model` may leave open.
    model = dataclasses.replace(config.model, vocab_size=base_config.model.vocab_size)
    config = dataclasses.replace(config, model=model)
    adapter: Any = peft.make_adapter(config)
    _require_batchable(run, config, adapter)
    _require_same_model(run, config, base_config, base)
    if all(base.checksums != other.checksums for other in known):
      _require_base(run, path, step, base)
      known.append(base)
    item = 'ema' if 'ema' in store.items(saved) else 'params'
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    leaves = {
      name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)
      for name, leaf in adapter.added.items()
    }
    return adapter.factors(
      adapted_checkpoints.read_adapted(store, saved, item, base, leaves)
    )


def _require_batchable(run, config, adapter):
  objective = objectives.describe(config)
  if not objective.writes_text:
    raise ConfigError(
      f'{run}: objective.name={config.objective.name!r} writes no text (it is'
      ' bidirectional or has a task head): gpt-jax predict, or eval, takes it as it is.'
    )
  if adapter.factors is None:
    asked = dataclasses.asdict(config.peft.options)
    default = dataclasses.asdict(type(config.peft.options)())
    options = {name: v for name, v in asked.items() if v != default[name]}
    raise ConfigError(
      f'{run}: peft.name={config.peft.name!r} with {options or "its defaults"} does'
      ' more than add a product of low rank to linear maps (LoRA, PiSSA), which is all'
      f' that rows of one batch can differ in; {ALONE}.'
    )
  if config.peft.base_storage != 'as_is':
    raise ConfigError(
      f'{run}: peft.base_storage={config.peft.base_storage!r}: trained on the base'
      f' rounded to that, and would write other text over this one; {ALONE}.'
    )


def _require_same_model(run, config, base_config, base):
  """Raises where the run's own base computes something else than that of `path`."""
  ours, theirs = (dataclasses.asdict(each.model) for each in (base_config, config))
  differ = {
    f'model.{name}': (theirs[name], value)
    for name, value in ours.items()
    if name not in OWN and theirs[name] != value
  }
  for section, name in OTHERS:
    theirs, value = (getattr(getattr(c, section), name) for c in (config, base_config))
    if theirs != value:
      differ[f'{section}.{name}'] = theirs, value
  theirs, ours = (objectives.describe(c).visibility for c in (config, base_config))
  if theirs != ours:
    differ['what a token sees'] = theirs, ours
  if differ:
    shown = ', '.join(f'{name} {a!r}, here {b!r}' for name, (a, b) in differ.items())
    raise CheckpointError(f'{run}: was trained with {shown}; {ALONE}.')
  if moved := [name for name, source in base.sources.items() if name != source]:
    raise CheckpointError(
      f'{run}: init.transform made {moved[0]} of another parameter of its base,'
      f' {base.sources[moved[0]]}: its model is not this one; {ALONE}.'
    )


def _require_base(run, path, step, base):
  """Raises CheckpointError unless `step` of `path` has the arrays of `base`."""
  here, other = jax.sharding.SingleDeviceSharding(jax.devices()[0]), []
  with adapted_checkpoints.open_source(path, base.dtype) as source:
    leaves = dict(pytree.named_leaves(source.abstract(step, 'params', here)))
    for name, value in base.checksums.items():
      if name not in leaves or value != array_checksums.checksum(
        source.restore_leaves(step, 'params', {name: leaves[name]})[name]
      ):
        other.append(name)
  if other:
    raise CheckpointError(
      f'{path}, step {step}, is not the model that {run} was trained on, which was'
      f' {base.source} at step {base.step} (fingerprint {base.fingerprint}):'
      f' {len(other)} of {len(base.checksums)} parameters differ, such as {other[0]}.'
      f' Load that one, or {ALONE}.'
    )
