"""The training program: one place that puts model, objective and optimizer together,
and applies jit, shardings and donation. `train`, `plan` and `bench` run this Program.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gpt_jax import attention, objectives, optimizers
from gpt_jax.config.schema import Config
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model.gpt import GPT
from gpt_jax.optimizers import schedules
from gpt_jax.parallel.compiler_options import options_for
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import ShardingRules, make_sharding_rules
from gpt_jax.program import guard, norms, spikes
from gpt_jax.program import loss as microbatch_loss
from gpt_jax.program.horizon import Horizon, make_horizon
from gpt_jax.program.state import TrainState, shardings_like, with_shardings


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled run: `init(seed) -> state`, `step(state, batch) -> state, metrics`."""

  config: Config
  """As given, with `model.vocab_size` resolved."""
  model: GPT
  rules: ShardingRules
  horizon: Horizon
  attention_kernel: str
  objective: objectives.Objective
  loss: str
  """'plain' or 'fused': whether all logits of a microbatch exist at once."""
  abstract_state: TrainState
  """Shapes, dtypes and shardings of the state."""
  batch_sharding: jax.sharding.NamedSharding
  init: Callable[[int], TrainState]
  step: Callable[[TrainState, Any], tuple[TrainState, dict]]
  """Takes the next batch; donates the state. Metrics are float32 scalars."""
  step_with_norms: Callable[[TrainState, Any], tuple[TrainState, dict]]
  """As `step`, with metrics['norms']: parameter, gradient and update norms by name."""
  evaluate: Callable[[Any, Any, int], dict]
  """(params, batch, batch index) -> sums over the batch, without dropout."""


def build(config, *, vocab, mesh=None, byte_lengths=None, embedding_rows=None):
  """Returns the Program of `config` for a tokenizer's `vocab` (objectives.Vocab).

  Args:
    mesh: default: all devices, by parallel.mesh.
    byte_lengths: int [vocab.size], bytes of text each token stands for; without them
      `evaluate` counts no bytes.
    embedding_rows: of a checkpoint's table; None: model.vocab_size or the ids needed,
      rounded up to model.pad_vocab_to_multiple_of and to the mesh.
  Nothing is allocated: compilation happens at the first call of each function.
  """
  mesh = make_mesh(config.parallel.mesh) if mesh is None else mesh
  rules = make_sharding_rules(config.parallel, mesh)
  objective = objectives.make(
    config.objective, vocab=vocab, seq_len=config.data.seq_len
  )
  num_ids = vocab.size + objective.extra_tokens
  config, rules = _with_vocab(config, rules, num_ids, embedding_rows)
  config = _with_remat(config, mesh)
  horizon = make_horizon(config.train, config.data.seq_len)
  _check_batches(config, horizon, rules)
  rules.check('data.seq_len', (config.data.seq_len,), ('stream_time',))
  kernel_name, attend = attention.choose_kernel(
    config, rules=rules, has_prefix=objective.visibility == 'prefix'
  )
  model = GPT(config.model, attend, rules)
  schedule = schedules.make_schedule(config.schedule, horizon, peak=1.0)
  params, param_shardings = abstract_params(config, rules)
  optimizer = optimizers.make_optimizer(config.optimizer, schedule, params)
  init = functools.partial(_init, config=config, optimizer=optimizer)
  shapes = jax.eval_shape(init, 0)
  shardings = _state_shardings(shapes, params, param_shardings, rules)
  loss_name, loss = microbatch_loss.make(
    config, model, rules, horizon, vocab_limit=num_ids
  )
  step = functools.partial(
    train_step,
    loss=loss,
    objective=objective,
    optimizer=optimizer,
    learning_rate=lambda step: config.optimizer.learning_rate * schedule(step),
    grad_accum=config.train.grad_accum,
    ema_decay=config.optimizer.ema_decay,
    spike_threshold=config.guard.spike_threshold,
    shard=rules.constrain,
  )
  evaluate = functools.partial(
    evaluate_step, loss=loss, objective=objective, byte_lengths=byte_lengths
  )
  batch_sharding, replicated = rules.sharding(('batch', None)), rules.sharding()
  jit_step = functools.partial(
    jax.jit,
    in_shardings=(shardings, batch_sharding),
    out_shardings=(shardings, replicated),
    donate_argnums=0,
    compiler_options=options_for(mesh, config.model.remat),
  )
  return Program(
    config=config,
    model=model,
    rules=rules,
    horizon=horizon,
    attention_kernel=kernel_name,
    objective=objective,
    loss=loss_name,
    abstract_state=with_shardings(shapes, shardings),
    batch_sharding=batch_sharding,
    init=jax.jit(init, out_shardings=shardings),
    step=jit_step(step),
    step_with_norms=jit_step(functools.partial(step, report_norms=True)),
    evaluate=jax.jit(
      evaluate,
      in_shardings=(param_shardings, batch_sharding, None),
      out_shardings=replicated,
    ),
  )


def _state_shardings(shapes, params, param_shardings, rules):
  """Returns where each leaf of the TrainState `shapes` lives, as a TrainState."""
  replicated = rules.sharding()
  return TrainState(
    step=replicated,
    seed=replicated,
    params=param_shardings,
    opt_state=shardings_like(shapes.opt_state, params, param_shardings, replicated),
    ema=None if shapes.ema is None else param_shardings,
    window=jax.tree.map(lambda _: replicated, shapes.window),
  )


def abstract_params(config, rules):
  """Returns (shapes, shardings) of the parameters; no device is touched.

  Raises ConfigError for a dimension that does not divide over its mesh axes.
  """
  boxed = jax.eval_shape(functools.partial(_init_params, config=config), 0)
  names = dict(pytree.named_leaves(nn.get_partition_spec(boxed)))
  params = nn.meta.unbox(boxed)

  def place(name, leaf):
    axes = tuple(names[name]) + (None,) * (leaf.ndim - len(names[name]))
    rules.check(name, leaf.shape, axes)
    return rules.sharding(axes)

  return params, pytree.map_named(place, params)


def train_step(
  state, batch, *, loss, objective, optimizer, learning_rate, grad_accum, ema_decay,
  spike_threshold, shard, report_norms=False,
):  # fmt: skip
  """Returns `(state after this batch, metrics)`; pure.

  A step whose loss or gradient is not finite, or whose loss is a spike, counts and
  changes nothing else (`guard.py`); metrics['skipped'] is 1 then.

  The loss is the weighted mean over all targets of the global batch, so `grad_accum`
  microbatches give the update of one big batch.
  """
  rng = jax.random.fold_in(jax.random.key(state.seed), state.step)
  objective_rng, dropout_rng = jax.random.split(rng)
  example = objective(batch, objective_rng)
  total_weight = jnp.maximum(jnp.sum(example.weights_BT), 1.0)

  def mean_loss(params, example, rng):
    sums = loss(params, example, rng)
    return sums.objective_sum / total_weight, sums

  grad_fn = jax.value_and_grad(mean_loss, has_aux=True)
  if grad_accum == 1:
    (_, sums), grads = grad_fn(state.params, example, dropout_rng)
  else:
    sums, grads = _accumulate(
      grad_fn, state.params, example, dropout_rng, grad_accum, shard
    )
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  ema = state.ema
  if ema is not None:
    ema = optimizers.ema_update(ema, params, ema_decay, state.step)
  loss_now, grad_norm = sums.nll_sum / total_weight, optax.tree.norm(grads)
  is_good = guard.judge(loss_now, grad_norm, state.window, spike_threshold)
  metrics = {
    'loss': loss_now,
    'objective': sums.objective_sum / total_weight,
    'accuracy': sums.correct_sum / total_weight,
    'targets': sums.weight_sum,
    'grad_norm': grad_norm,
    'learning_rate': learning_rate(state.step),
    'skipped': jnp.logical_not(is_good).astype(jnp.float32),
  }
  window = state.window
  if window is not None:
    metrics['highest_loss'] = spikes.highest_loss(window, spike_threshold)
    window = spikes.accept(window, loss_now)
  after = state.replace(params=params, opt_state=opt_state, ema=ema, window=window)
  state = guard.choose(is_good, after, state)
  if report_norms:
    metrics['norms'] = norms.by_layer(
      {'param': state.params, 'grad': grads, 'update': updates}
    )
  return state.replace(step=state.step + 1), metrics


def evaluate_step(params, batch, index, *, loss, objective, byte_lengths):
  """Returns `{nll, targets, correct, bytes}` summed over a batch, float32.

  What an objective hides at random depends only on the batch's `index` in its set.
  """
  example = objective(batch, jax.random.fold_in(jax.random.key(0), index))
  sums = loss(params, example, None)
  result = {
    'nll': sums.nll_sum,
    'targets': sums.weight_sum,
    'correct': sums.correct_sum,
  }
  if byte_lengths is not None:
    bytes_V = jnp.asarray(np.asarray(byte_lengths, np.float32))
    bytes_BT = bytes_V[jnp.minimum(example.targets_BT, len(byte_lengths) - 1)]
    result['bytes'] = jnp.sum(bytes_BT * example.weights_BT)
  return result


def _accumulate(grad_fn, params, example, rng, count, shard):
  """Returns (sums, gradients) added up over `count` microbatches by a scan.

  The sums are float32: half-precision parameters have gradients too coarse to add up.
  """

  def cut(leaf):
    # Microbatch i takes rows i, i + count, ...: each device keeps its own rows.
    parts = leaf.reshape(leaf.shape[0] // count, count, *leaf.shape[1:])
    return parts.swapaxes(0, 1)

  def add(total, part):
    index, example = part
    example = jax.tree.map(
      lambda leaf: shard(leaf, 'batch', *[None] * (leaf.ndim - 1)), example
    )
    (_, sums), grads = grad_fn(params, example, jax.random.fold_in(rng, index))
    return jax.tree.map(lambda t, p: t + p.astype(t.dtype), total, (sums, grads)), None

  parts = (jnp.arange(count), jax.tree.map(cut, example))
  shapes = jax.eval_shape(grad_fn, params, jax.tree.map(lambda x: x[0], parts[1]), rng)
  (_, sums), grads = jax.tree.map(lambda s: jnp.zeros(s.shape, jnp.float32), shapes)
  (sums, grads), _ = jax.lax.scan(add, (sums, grads), parts)
  return sums, jax.tree.map(lambda grad, p: grad.astype(p.dtype), grads, params)


def _init(seed, *, config, optimizer):
  params = nn.meta.unbox(_init_params(seed, config=config))
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    seed=jnp.asarray(seed, jnp.int32),
    params=params,
    opt_state=optimizer.init(params),
    ema=optimizers.ema_init(params) if config.optimizer.ema_decay else None,
    window=spikes.window_of(config.guard),
  )


def _init_params(seed, *, config):
  """Returns fresh parameters boxed with the names of their axes."""
  # Dense and unsharded: parameters do not depend on it, and one token suffices.
  model = GPT(config.model)
  tokens_BT = jnp.zeros((1, 1), jnp.int32)
  return model.init(jax.random.key(seed), tokens_BT)['params']


def _with_vocab(config, rules, num_ids, embedding_rows):
  """Returns config and rules for a table that holds `num_ids` and fits the mesh."""
  model, shards = config.model, rules.num_shards('vocab')
  if model.vocab_size is not None and model.vocab_size < num_ids:
    raise ConfigError(
      f'model.vocab_size={model.vocab_size}: tokenizer and objective use {num_ids} ids;'
      ' set it to None or to at least that.'
    )
  rows = embedding_rows
  if rows is None:
    multiple = math.lcm(model.pad_vocab_to_multiple_of, shards)
    rows = -(-(model.vocab_size or num_ids) // multiple) * multiple
  elif rows % shards:  # made for another mesh: keep the table whole
    whole = rules.mesh_axes | {'vocab': None, 'act_vocab': None}
    rules = dataclasses.replace(rules, mesh_axes=whole)
  model = dataclasses.replace(model, vocab_size=rows)
  return dataclasses.replace(config, model=model), rules


def _with_remat(config, mesh):
  """Returns the config with 'auto' decided.

  On a TPU v5e a scan over the layers of GPT-2 124M is faster when it computes them
  again (84 ms) than when it stacks up what the backward pass reads (110 ms), at a sixth
  of the memory: docs/performance.md.
  """
  if config.model.remat != 'auto':
    return config
  on_tpu = mesh.devices.flat[0].platform == 'tpu'
  remat = 'full' if on_tpu and config.model.scan_layers else 'none'
  model = dataclasses.replace(config.model, remat=remat)
  return dataclasses.replace(config, model=model)


def _check_batches(config, horizon, rules):
  """Raises ConfigError for a (micro)batch that does not divide over the data shards."""
  shards, parts = rules.num_shards('batch'), config.train.grad_accum
  sizes = [('train.batch_size', stage.batch_size, parts) for stage in horizon.stages]
  for field, size, parts in [*sizes, ('eval.batch_size', config.eval.batch_size, 1)]:
    unit = shards * parts
    if size % unit:
      raise ConfigError(
        f'{field}={size}: its microbatches of {size // parts} rows do not divide over'
        f' {shards} data shards; try {max(unit, size // unit * unit)}.'
      )
