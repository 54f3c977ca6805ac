"""The state that a start begins with: a checkpoint's, another run's, or a fresh one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from gpt_jax import optimizers, peft
from gpt_jax.checkpoints import tree_diff
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import tokenizers
from gpt_jax.interop import open_model
from gpt_jax.program import (
  adapted_checkpoints,
  init_adapter,
  init_from,
  l2_sp,
  restore,
)
from gpt_jax.program.adapted_checkpoints import open_source
from gpt_jax.program.base import Base
from gpt_jax.program.batches import first_microbatches
from gpt_jax.program.build import adapter_of
from gpt_jax.program.observe import make_observe
from gpt_jax.program.state import of_model
from gpt_jax.train import task_end
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass(frozen=True)
class Origin:
  """Where a state comes from."""

  text: str
  report: init_from.Report | None = None  # with init_from: what became of what
  base: Base | None = None  # of a run with an Adapter: where its frozen parameters are
  references: dict[str, int] | None = None  # steps of those that the objective reads


def starting_state(program, store, step, dataset=None):
  """Returns (state, Origin), from the checkpoint of `step` if there is one.

  Else from `init_from`: of a run with a task its best step, of others the newest one;
  of a run with an EMA the raw parameters, as the average was never trained.
  `dataset`: that of training, for adapters that begin with data.
  """
  config = program.config
  if step is not None:
    state, note = _saved_state(program, store, step)
    return state, Origin(
      f'resumed from step {step}{note}' + _other_mesh(program, store, step),
      base=Base.of_step(store, step),
    )
  state = program.init(config.seed)
  params, origin = _from_source(program, state.params, dataset)
  if origin.report is None:
    return state, origin
  ema = None
  if state.ema is not None:
    averaged = params if origin.base is None else program.trained(params)
    ema = optimizers.ema_init(averaged)
  first = state.start
  if first is not None:
    trained = program.trained(params)
    first = l2_sp.start_of(trained, origin.report.kinds.get('fresh', ()))
  return dataclasses.replace(state, params=params, ema=ema, start=first), origin


def starting_params(program):
  """Returns (parameters, Origin) of a training's beginning, without the optimizer's."""
  shardings = jax.tree.map(lambda leaf: leaf.sharding, program.abstract_state.params)
  init = jax.jit(lambda seed: program.init(seed).params, out_shardings=shardings)
  return _model_from_source(program, of_model(init(program.config.seed)), None)


def _from_source(program, params, dataset=None):
  """Returns (parameters, Origin): those of `init_from` in place of fresh `params`."""
  taken, origin = _model_from_source(program, of_model(params), dataset)
  return params | taken, origin


def _model_from_source(program, params, dataset):
  config, adapter = program.config, adapter_of(program.model)
  if not config.init_from:
    require_base(config)
    return params, Origin('fresh parameters')
  added = adapter.added if adapter else None
  with open_source(config.init_from, config.model.param_dtype) as source:
    step = _step_of(config.init_from, source)
    params, report = init_from.init_params(config, params, source, step, added)
  text = f'parameters of {config.init_from}, step {step}'
  if not adapter:
    return params, Origin(text, report)
  base = Base.of(report, config, program.frozen - adapter.added.keys())
  if not config.peft.init_from:
    return _begun(program, adapter, params, dataset), Origin(text, report, base)
  with adapted_checkpoints.open_run(config.peft.init_from) as store:
    step = _step_of(config.peft.init_from, store)
    params, own = init_adapter.take_over(config, adapter, params, base, store, step)
  text += f', the adapter of {config.peft.init_from}, step {step}'
  return params, Origin(text, dataclasses.replace(report, adapter=own), base)


def _begun(program, adapter, params, dataset):
  """Returns `params` with the adapter's first values that depend on base or data."""
  if adapter.begin is None:
    return params
  observe = None
  if dataset is not None:
    open_batches = functools.partial(first_microbatches, program, dataset)
    observe = make_observe(program, params, open_batches)
  text, ids = adapter.begin_text, None
  if text:
    ids = _tokenizer_of(program.config.init_from).encode(text)
  made = adapter.begin(peft.in_full(adapter, params), observe=observe, ids=ids)
  return pytree.map_named(
    lambda name, leaf: (
      jax.device_put(jnp.asarray(made[name], leaf.dtype), leaf.sharding)
      if name in made
      else leaf
    ),
    params,
  )


def _tokenizer_of(path):
  if not open_model.is_model(path):
    return tokenizers.load(Workdir(path).tokenizer)
  with open_model.open_model(path) as model:
    return model.tokenizer


def require_base(config):
  """Raises ConfigError for the start of a run that has peft.name and no init_from."""
  if config.peft.name and not config.init_from:
    raise ConfigError(
      f'peft.name={config.peft.name!r}: trains a few parameters of a model that is'
      ' there; set --config.init_from=MODEL (a run, a Hugging Face folder or a GGUF'
      ' file), or --config.peft.init_from=RUN to train the adapter of a run on.'
    )


def check_tokenizer(config, tokenizer):
  """Raises ConfigError where `init_from` was trained on ids of another tokenizer."""
  if config.init.tokenizer == 'new':
    return
  with open_source(config.init_from) as source:
    step = source.latest_step()
    meta = {} if step is None else source.read_meta(step)
  theirs = meta.get('fingerprints', {}).get('tokenizer', tokenizer.fingerprint)
  if theirs != tokenizer.fingerprint:
    raise ConfigError(
      f'init_from={config.init_from!r}: trained with another tokenizer than that of'
      f' tokenizer.name={config.tokenizer.name!r} (fingerprint {theirs[:12]}, here'
      f' {tokenizer.fingerprint[:12]}): its parameters mean nothing under other ids.'
      ' Use its tokenizer (a workdir keeps that of its first start, even of one that'
      ' failed: give a new --workdir), or set init.tokenizer to "new" and settle by'
      ' init.rules what depends on ids: {"fresh": "embed/embedding"}.'
    )


def describe_references(steps, starts):
  """Returns notes on `{reference: step}`, beside those of the last start in run.json.

  A run that still trains has another newest step whenever this one resumes.
  """
  earlier = starts[-1].get('references', {}) if starts else {}
  return [
    f'WARNING: the objective reads {name!r} at its step {step}, and read step'
    f' {earlier[name]} before: from here on the loss is another'
    for name, step in steps.items()
    if step != earlier.get(name, step)
  ]


def _step_of(path, source):
  """Returns the newest valid step of what `open_source` opened; of a task the best."""
  if not open_model.is_model(path):
    saved = Workdir(path).read_config() or {}
    if saved.get('task', {}).get('name'):
      keep_best = saved.get('checkpoint', {}).get('keep_best', 0)
      return restore.choose_step(source, task_end.best_step(source, keep_best))
  return restore.choose_step(source)


def _saved_state(program, store, step):
  base = Base.of_step(store, step)
  wanted = program.abstract_state.as_items()
  if base is not None:
    wanted = base.saved(wanted)
  # Whoever switches guard.spikes on, or changes guard.spike_window, begins anew.
  history = wanted.get('window')
  if history is not None and not _has_history(store, step, history):
    del wanted['window']
  items, is_widened = restore.load_items(store, step, wanted)
  if history is not None and 'window' not in items:
    items['window'] = jax.tree.map(
      lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), history
    )
  if base is not None:
    items = _with_base(program, base, items, store.directory.parent)
  note = ', its half-precision optimizer state made float32' if is_widened else ''
  return type(program.abstract_state).from_items(items), note


def _with_base(program, base, items, place):
  """Returns `items` of a state, saved without the parameters of `base`, with them."""
  state, own = program.abstract_state, dict(pytree.named_leaves(items['params']))
  leaves = dict(pytree.named_leaves(state.params))
  rest = {name: leaf for name, leaf in leaves.items() if name not in own}
  read = adapted_checkpoints.read_base(base, program.config.init_from, rest, place)
  items = items | {'params': pytree.nested(own | read)}
  if state.ema is not None:
    averaged = dict(pytree.named_leaves(items['ema']))
    items['ema'] = pytree.map_named(lambda name, _: averaged[name], state.ema)
  return items


def _has_history(store, step, wanted):
  if 'window' not in store.items(step):
    return False
  saved = store.abstract(step, 'window')
  return not tree_diff.differences(saved, wanted, 'window')


def _other_mesh(program, store, step):
  """Returns the note that a checkpoint comes from another mesh, or ''."""
  new = dict(program.rules.mesh.shape)
  old = store.read_meta(step).get('mesh', new)
  if old == new:
    return ''
  return (
    f', saved on the mesh {describe_mesh(old)}, now {describe_mesh(new)}: sums are'
    ' taken in another order, so metrics agree with those of the old mesh to rounding,'
    ' not bit for bit'
  )


def describe_mesh(mesh):
  """Returns the axes of `{axis: size}` that shard anything, in words."""
  return ' '.join(f'{axis}={n}' for axis, n in mesh.items() if n > 1) or '1 device'
