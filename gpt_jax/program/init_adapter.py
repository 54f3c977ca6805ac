"""The adapter of another run as the first one of this: peft.init_from."""

import dataclasses

from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program import init_from
from gpt_jax.program.base import Base, require_same_base
from gpt_jax.quantization import packed

FREE = (
  'dropout', 'init', 'init_batches', 'init_text', 'warmup_steps', 'final_steps',
  'interval', 'beta1', 'beta2', 'orthogonality',
)  # fmt: skip
"""Options of methods that say how to train, and not what is computed."""


def take_over(config, adapter, params, base, store, step):
  """Returns (`params` with what the run of `peft.init_from` has trained, Report).

  A task head of that run in another shape is left, and this one's is fresh.

  Args:
    base: the Base of `params`.
    store, step: the saved step of that run, as it is (`adapted_checkpoints.open_run`).
  Raises ConfigError for another method or base, CheckpointError for what is missing.
  """
  path = config.peft.init_from
  theirs = Base.of_step(store, step)
  if theirs is None:
    raise ConfigError(f'peft.init_from={path!r}: its step {step} has no adapter.')
  _require_same_method(config, store.read_meta(step)['config']['peft'])
  require_same_base(theirs, path, base, config.init_from)
  own = {
    name: leaf
    for name, leaf in pytree.named_leaves(params)
    if name not in base.sources and not packed.is_part(name)
  }
  asked = dataclasses.replace(
    config,
    init_from=path,
    init=dataclasses.replace(config.init, transform='matching', rules=()),
  )
  taken, report = init_from.init_params(asked, pytree.nested(own), store, step)
  missing = [
    name
    for name in report.kinds.get('fresh', ())
    if name in adapter.added or not name.startswith('task_head/')
  ]
  if missing:
    raise CheckpointError(
      f'peft.init_from={path!r}: has no {missing[0]} of shape'
      f' {list(own[missing[0]].shape)}, {len(missing)} missing in all; leave out'
      ' --config.peft.name and --config.peft.options, which come from that run, and'
      ' what changes the shape of the model.'
    )
  found = dict(pytree.named_leaves(taken))
  return pytree.map_named(lambda name, leaf: found.get(name, leaf), params), report


def _require_same_method(config, saved):
  """Raises ConfigError where the section `peft` of that run computes something else."""
  ours, path = config.peft, config.peft.init_from
  options = load.to_dict(config)['peft']['options']
  differ = {
    f'peft.options.{name}': (saved['options'].get(name, value), value)
    for name, value in options.items()
    if name not in FREE
  }
  if saved['options'].get('init') == 'pissa' or options.get('init') == 'pissa':
    # Its start is a part of the adapter.
    differ['peft.options.init'] = saved['options'].get('init'), options.get('init')
  if saved['name'] != ours.name:
    differ = {'peft.name': (saved['name'], ours.name)}
  differ = {field: pair for field, pair in differ.items() if pair[0] != pair[1]}
  if differ:
    shown = ', '.join(f'{field}={new!r}, there {old!r}' for field, (old, new) in
                      differ.items())  # fmt: skip
    raise ConfigError(
      f'peft.init_from={path!r}: {shown}; an adapter trains on as the one that it is.'
      ' Leave these fields out, then they come from that run. For another adapter over'
      f' what it computes: --config.init_from={path} without peft.init_from.'
    )
