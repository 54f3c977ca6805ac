"""Model, objective and optimizer put together: jit, shardings, donation are here."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gpt_jax import attention, objectives, optimizers, peft
from gpt_jax.config.schema import Config
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation import metrics as output_metrics
from gpt_jax.evaluation.metrics import Metric
from gpt_jax.model import initializers, positions
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head
from gpt_jax.optimizers import groups, layer_decay, post_update, schedules, trainable
from gpt_jax.parallel.compiler_options import of_step
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import ShardingRules, make_sharding_rules
from gpt_jax.program import (
  adversarial,
  attack,
  distillation,
  guard,
  hidden_distance,
  l2_sp,
  regularization,
  resolved,
  row_lengths,
  statistics,
  step,
)
from gpt_jax.program.horizon import START, Horizon, make_horizon
from gpt_jax.program.loss import make_loss
from gpt_jax.program.state import (
  TrainState,
  of_model,
  shardings_like,
  with_shardings,
)
from gpt_jax.quantization import packed


@dataclasses.dataclass(frozen=True)
class Program:
  """What the device runs for a config; every function compiles at its first call."""

  config: Config  # as given, with model.vocab_size and model.remat resolved
  model: GPT
  rules: ShardingRules
  horizon: Horizon
  attention_kernel: str
  objective: objectives.Objective
  metrics: dict[str, Metric]  # of the outputs: eval.metrics and the objective's
  # 'plain' or 'fused': whether all logits of a microbatch exist at once; or 'custom'.
  loss: str
  frozen: frozenset[str]  # names of the parameters that do not train
  abstract_state: TrainState  # ShapeDtypeStructs with shardings
  batch_sharding: jax.sharding.NamedSharding
  init: Callable[[int], TrainState]  # of a seed
  # (state, batch) -> (state, metrics); donates the state. Metrics are float32 scalars.
  step: Callable[[TrainState, Any], tuple[TrainState, dict]]
  # As `step`, with metrics['norms']: of parameters, gradients and updates, by name.
  step_with_norms: Callable[[TrainState, Any], tuple[TrainState, dict]]
  # (params, batch, index of the batch) -> sums over the batch, without dropout; where
  # the objective has references, their parameters come fourth.
  evaluate: Callable[..., dict]
  # As `evaluate`, with 'predictions' for each row: what a task's objective says.
  predict: Callable[..., dict]
  trained: Callable[[Any], Any]  # of a tree of parameters: with None for frozen ones
  # Of logging.statistics; None: of nothing.
  measurement: statistics.Measurement | None
  # (state, batch of its last step) -> the sums that `measurement.finished` takes.
  measure: Callable[[TrainState, Any], Any]

  @property
  def references(self):
    """Returns {name: workdir} of the other models that the loss reads."""
    return distillation.references(self.config)

  @property
  def parameters(self):
    """Returns ShapeDtypeStructs of the parameters, as with peft.base_storage as_is."""
    params, dtype = of_model(self.abstract_state.params), self.config.model.param_dtype
    return packed.structs_in_full(params, dtype)


def build_program(
  config,
  *,
  vocab,
  mesh=None,
  byte_lengths=None,
  embedding_rows=None,
  past=START,
  reference_configs: Mapping[str, Config] = MappingProxyType({}),
):
  """Returns the Program of `config` for a tokenizer's `vocab` (objectives.Vocab).

  Args:
    mesh: default: all devices, by parallel.mesh.
    byte_lengths: int [vocab.size], bytes of text each token stands for, for `evaluate`.
    embedding_rows: of a checkpoint's embedding; None: model.vocab_size or the ids
      needed, rounded up to model.pad_vocab_to_multiple_of and to the mesh.
    past: what a run had consumed before its batches changed (`horizon.Past`).
    reference_configs: Configs, resolved, of the objective's references by name.
  Nothing is allocated. Raises ConfigError for what does not fit together or the mesh.
  """
  mesh = make_mesh(config.parallel.mesh) if mesh is None else mesh
  rules = make_sharding_rules(config.parallel, mesh)
  objective_for = row_lengths.make_objectives(config, vocab=vocab)
  objective = objective_for(config.data.seq_len)
  num_ids = vocab.size + objective.extra_tokens
  config, rules = resolved.with_vocab(config, rules, num_ids, embedding_rows)
  config = resolved.with_remat(config, mesh)
  horizon = make_horizon(config.train, config.data.seq_len, past)
  check_batches(config, horizon, rules)
  kernel_name, model = _make_model(config, objective, rules)
  row_lengths.check_positions(config)  # after virtual tokens, which leave fewer
  row_lengths.check_placement(config, rules, kernel_name)
  reference_models = _make_references(config, reference_configs, rules)
  variables, _ = shapes_and_shardings(model)
  projections = hidden_distance.make_projections(config, reference_configs)
  params = jax.eval_shape(projections.added, variables['params'])
  loss = make_loss(
    config,
    objective,
    model,
    horizon,
    vocab_limit=num_ids,
    has_auxiliary_losses='losses' in variables,
    reference_models=reference_models,
  )
  loss = regularization.regularize(config, objective, loss, num_ids)
  loss = distillation.distill(config, objective, loss, num_ids, reference_configs)
  metrics = _choose_metrics(config, objective)
  train_step = _make_train_step(config, loss, objective, horizon, params, model)
  evaluate = functools.partial(
    step.evaluate,
    loss=loss,
    objective_for=objective_for,
    metrics=metrics,
    byte_lengths=byte_lengths,
    vocab_limit=num_ids,
    attack_epsilon=config.eval.attack_epsilon,
  )
  measurement = statistics.make_measurement(config, model, objective, num_ids)
  return Program(
    config=config,
    model=model,
    rules=rules,
    horizon=horizon,
    attention_kernel=kernel_name,
    objective=objective,
    metrics=metrics,
    loss=loss.name,
    frozen=train_step.frozen,
    trained=functools.partial(trainable.select, frozen=train_step.frozen),
    measurement=measurement,
    **_compiled(
      config, model, projections, train_step, evaluate, measurement, reference_models
    ),
  )


def _make_references(config, reference_configs, rules):
  """Returns {name: GPT} of the other models: they read the same rows and mask."""
  row_lengths.check_references(config, reference_configs)
  found = {}
  for name, reference in reference_configs.items():
    reference = resolved.with_ids_of(config, reference)
    _, found[name] = _make_model(reference, objectives.describe(reference), rules)
  return found


def _choose_metrics(config, objective):
  """Returns {name: Metric} of what evaluation sums beside the loss."""
  # In one order: that of a set differs between processes, and so would their programs.
  names = dict.fromkeys((*config.eval.metrics, *objective.eval_metrics))
  metrics = output_metrics.choose(names)
  if config.eval.attack_epsilon:
    metrics[attack.NAME] = attack.METRIC
  return metrics


def check_batches(config, horizon, rules):
  """Raises ConfigError for rows and tokens that do not divide over the mesh."""
  shards, parts = rules.num_shards('batch'), config.train.grad_accum
  sizes = [('train.batch_size', stage.batch_size, parts) for stage in horizon.present]
  for field, size, parts in [*sizes, ('eval.batch_size', config.eval.batch_size, 1)]:
    unit = shards * parts
    if size % unit:
      raise ConfigError(
        f'{field}={size}: its microbatches of {size // parts} rows do not divide over'
        f' {shards} data shards; try {max(unit, size // unit * unit)}.'
      )
  rules.check('data.seq_len', (config.data.seq_len,), ('stream_time',))


def _make_train_step(config, loss, objective, horizon, params, model):
  adapter, rules = adapter_of(model), model.rules
  schedule = schedules.make_schedule(config.schedule, horizon, peak=1.0)
  width = initializers.relative_width(config.model)
  optimizer = optimizers.make_optimizer(config.optimizer, schedule, params, width)
  training = adapter.training(horizon.total_steps) if adapter else None
  if training:
    optimizer = training.wrap_optimizer(optimizer)
  names = [name for name, _ in pytree.named_leaves(params)]
  rates = optimizers.metric_rates(config.optimizer, names, width)
  rates |= layer_decay.metric_rates(
    config.optimizer.layer_decay,
    config.model.num_layers,
    config.optimizer.learning_rate,
  )
  return step.TrainStep(
    loss=loss,
    objective=objective,
    optimizer=optimizer,
    learning_rates=lambda step: {n: rate * schedule(step) for n, rate in rates.items()},
    frozen=_frozen_names(config, params, adapter),
    post_update=post_update.make_post_update(config, params),
    grad_accum=config.train.grad_accum,
    ema_decay=config.optimizer.ema_decay,
    spike_threshold=config.guard.spike_threshold,
    checks_update=guard.must_check(config),
    constrain=rules.constrain,
    value_and_grad=adversarial.make_value_and_grad(
      config.regularization, config.model.d_model
    ),
    l2_sp=config.regularization.l2_sp,
    training=training,
  )


def _compiled(
  config, model, projections, train_step, evaluate, measurement, reference_models
):
  """Returns the fields of a Program that jit and shardings make."""
  rules = model.rules
  init = functools.partial(
    _init,
    config=config,
    model=model,
    projections=projections,
    train_step=train_step,
    reference_models=reference_models,
  )
  shapes = jax.eval_shape(init, 0)
  shardings = _state_shardings(shapes, model, projections, reference_models)
  batch_sharding, replicated = rules.sharding(('batch', None)), rules.sharding()
  jit_step = functools.partial(
    jax.jit,
    in_shardings=(shardings, batch_sharding),
    out_shardings=(shardings, replicated),
    donate_argnums=0,
    compiler_options=of_step(rules.mesh, config),
  )
  references = (shardings.references,) if reference_models else ()
  jit_evaluate = functools.partial(
    jax.jit,
    in_shardings=(of_model(shardings.params), batch_sharding, None, *references),
    out_shardings=replicated,
  )
  return dict(
    abstract_state=with_shardings(shapes, shardings),
    batch_sharding=batch_sharding,
    init=jax.jit(init, out_shardings=shardings),
    step=jit_step(train_step.update),
    step_with_norms=jit_step(functools.partial(train_step.update, with_norms=True)),
    evaluate=jit_evaluate(evaluate),
    predict=jit_evaluate(functools.partial(evaluate, with_predictions=True)),
    measure=jax.jit(
      measurement or _measure_nothing,
      in_shardings=(shardings, batch_sharding),
      out_shardings=replicated,
    ),
  )


def _measure_nothing(state, batch):
  del state, batch
  return {}, {}


def _frozen_names(config, params, adapter):
  leaves = dict(pytree.named_leaves(params))
  settings = groups.resolve(config.optimizer, list(leaves))
  return frozenset(
    name
    for name, leaf in leaves.items()
    if settings[name].freeze
    or packed.is_packed(leaf)
    or packed.is_part(name)
    or (adapter and adapter.is_frozen(name))
  )


def _state_shardings(shapes, model, projections, reference_models):
  """Returns where each leaf of the TrainState `shapes` lives, as a TrainState."""
  replicated = model.rules.sharding()
  params = projections.with_shardings(shapes_and_shardings(model)[1], model.rules)
  return TrainState(
    step=replicated,
    seed=replicated,
    params=params,
    opt_state=shardings_like(shapes.opt_state, shapes.params, params, replicated),
    ema=shardings_like(shapes.ema, shapes.params, params, replicated),
    loss_history=jax.tree.map(lambda _: replicated, shapes.loss_history),
    start=shardings_like(shapes.start, shapes.params, params, replicated),
    references={
      name: shapes_and_shardings(one)[1] for name, one in reference_models.items()
    }
    or None,
  )


def shapes_and_shardings(model):
  """Returns (variables as shapes, shardings of the parameters) of a GPT on a mesh.

  Raises ConfigError if its mesh forbids them.
  """
  variables = jax.eval_shape(functools.partial(_init_variables, model=model), 0)
  names = dict(pytree.named_leaves(nn.get_partition_spec(variables['params'])))
  variables = nn.meta.unbox(variables)
  if adapter := adapter_of(model):
    params = functools.partial(adapter.first_params, seed=0)
    variables = variables | {'params': jax.eval_shape(params, variables['params'])}
    names |= adapter.axes(model.rules)

  def sharding_of(name, leaf):
    axes = tuple(names[name]) + (None,) * (leaf.ndim - len(names[name]))
    model.rules.check(name, leaf.shape, axes)
    return model.rules.sharding(axes)

  return variables, pytree.map_named(sharding_of, variables['params'])


def _init(seed, *, config, model, projections, train_step, reference_models):
  params = projections.added(init_params(seed, model), seed)
  trained = trainable.select(params, train_step.frozen)
  averaged = trained if adapter_of(model) else params
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    seed=jnp.asarray(seed, jnp.int32),
    params=params,
    opt_state=train_step.optimizer.init(trained),
    ema=optimizers.ema_init(averaged) if config.optimizer.ema_decay else None,
    loss_history=guard.initial_history(config.guard),
    start=l2_sp.fresh_start(trained) if config.regularization.l2_sp else None,
    # Of the right shapes only: `restore.load_references` reads them.
    references={name: init_params(0, one) for name, one in reference_models.items()}
    or None,
  )


def init_params(seed, model):
  """Returns fresh parameters of a GPT, those of its Adapter included."""
  params = nn.meta.unbox(_init_variables(seed, model=model)['params'])
  if adapter := adapter_of(model):
    params = adapter.first_params(params, seed)
  return params


def adapter_of(model):
  """Returns the Adapter of a GPT, None where it has none."""
  return model.adapter if isinstance(model, peft.AdaptedGPT) else None


def _init_variables(seed, *, model):
  """Returns fresh variables, boxed with the names of their axes."""
  # Dense and unsharded: parameters do not depend on it, and one token suffices.
  model = GPT(model.cfg, task_head=model.task_head)
  tokens_BT = jnp.zeros((1, 1), jnp.int32)
  return model.init(jax.random.key(seed), tokens_BT)


def _make_model(config, objective, rules):
  """Returns (name of the attention kernel, the GPT of a Config on a mesh)."""
  adapter = peft.make_adapter(config)
  kernel_name, attend = attention.choose_kernel(
    config,
    rules=rules,
    has_prefix=objective.visibility == 'prefix',
    has_virtual=adapter is not None and adapter.has_virtual_keys,
    has_slopes=positions.has_slopes(config.model),
  )
  head = make_head(config, objective.num_outputs)
  return kernel_name, peft.make_gpt(adapter, config.model, attend, rules, head)
