"""One training step and one evaluation step, pure; `build.py` compiles them."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gpt_jax import optimizers, peft
from gpt_jax.core import pytree
from gpt_jax.evaluation import metrics as output_metrics
from gpt_jax.objectives import Objective
from gpt_jax.optimizers import trainable
from gpt_jax.peft.adapter import Training
from gpt_jax.program import (
  adversarial,
  attack,
  distillation,
  guard,
  l2_sp,
  norms,
  r_drop,
)
from gpt_jax.program.loss import Loss, outputs_of

LOSSES = (
  'loss', 'auxiliary_loss', adversarial.METRIC, r_drop.METRIC, *distillation.METRICS,
)  # fmt: skip
"""Among `metric_sums`: divided by the weight of the targets in the loss."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainStep:
  """The update of a global batch. The loss is the weighted mean over all its targets,
  so `grad_accum` microbatches give the update of one big batch.
  """

  loss: Loss
  objective: Objective
  optimizer: optax.GradientTransformation  # of the trainable parameters
  learning_rates: Callable  # of a step, by name, for the metrics
  frozen: frozenset[str]  # names of parameters without gradient
  post_update: Callable | None  # (params, those before, step) -> params
  grad_accum: int
  ema_decay: float
  spike_threshold: float
  checks_update: bool  # whether new parameters have to be finite; see guard.must_check
  constrain: Callable  # ShardingRules.constrain
  value_and_grad: Callable  # of `adversarial.make_value_and_grad`
  l2_sp: float  # weight of the distance from where fine-tuning began; 0: none
  training: Training | None  # what an Adapter does here

  def update(self, state, batch, *, with_norms=False):
    """Returns `(state after this batch, metrics)`.

    A bad step (see `guard`) counts and changes nothing else; metrics['skipped'] is 1
    then. Gradients, and so their norm, are those of trainable parameters.
    """
    objective_rng, dropout_rng = random_keys(state.seed, state.step)
    example = self.objective(batch, objective_rng)
    total_weight = jnp.maximum(self.objective.weight(example), 1.0)
    sums, grads = self.gradients(state, example, dropout_rng, total_weight)
    penalties, grads = self._add_penalties(grads, state)
    after, updates = self.apply(grads, state)
    means, count = self._means(sums, total_weight)
    objective = sum(penalties.values(), start=sums.objective_sum / total_weight)
    means |= penalties
    loss, grad_norm = means.setdefault('loss', objective), norms.total(grads)
    is_good = guard.is_good_step(
      loss, grad_norm, state.loss_history, self.spike_threshold
    )
    if self.checks_update:
      is_good &= guard.is_finite(trainable.select(after.params, self.frozen))
    metrics = means | {
      'objective': objective,
      'targets': count,
      'grad_norm': grad_norm,
      **self.learning_rates(state.step),
      'skipped': jnp.logical_not(is_good).astype(jnp.float32),
    }
    history = state.loss_history
    if history is not None:
      metrics['highest_loss'] = guard.highest_loss(history, self.spike_threshold)
      history = guard.append(history, loss)
    after = after.replace(loss_history=history)
    state = guard.select(is_good, after, state)
    if self.training is not None:
      metrics |= self._metrics_of_training(state)
    if with_norms:
      metrics['norms'] = norms.by_layer(
        {'param': state.params, 'grad': grads, 'update': updates}
      )
    return state.replace(step=state.step + 1), metrics

  def _add_penalties(self, grads, state):
    """Returns ({metric: penalty} of the parameters, `grads` with theirs)."""
    trained, found = trainable.select(state.params, self.frozen), {}
    if self.l2_sp:
      found['l2_sp'], grads = l2_sp.add(self.l2_sp, grads, trained, state.start)
    if self.training is not None:
      own, grads = peft.add_penalties(self.training.penalties, grads, trained)
      found |= own
    return found, grads

  def _metrics_of_training(self, state):
    assert self.training is not None
    trained = trainable.select(state.params, self.frozen)
    found = self.training.metrics(dict(pytree.named_leaves(trained)), state.step + 1)
    return {name: value.astype(jnp.float32) for name, value in found.items()}

  def _means(self, sums, total_weight):
    """Returns ({metric: its mean over the targets}, the number of targets)."""
    count, divisor = sums.weight_sum, total_weight
    if sums.metric_weight_sum is not None:
      count = sums.metric_weight_sum
      divisor = jnp.maximum(count, 1.0)
    return {
      name: total / (total_weight if name in LOSSES else divisor)
      for name, total in sums.metric_sums.items()
      if name in self.objective.step_metrics or name in LOSSES
    }, count

  def gradients(self, state, example, rng, total_weight):
    """Returns (LossSums of the batch, gradients); None in place of frozen ones."""
    params = state.params

    def mean_loss(trained, example, rng, perturbation_BTD=None):
      # The frozen ones are constants here: nothing is computed for their gradients.
      merged = trainable.merge(trained, params)
      sums = self.loss(
        merged, example, rng, state.references, state.step, perturbation_BTD
      )
      return sums.objective_sum / total_weight, sums

    grad_fn = self.value_and_grad(mean_loss)
    trained = trainable.select(params, self.frozen)
    if self.grad_accum == 1:
      (_, sums), grads = grad_fn(trained, example, rng)
      return sums, grads
    return accumulate(grad_fn, trained, example, rng, self.grad_accum, self.constrain)

  def apply(self, grads, state):
    """Returns (`state` after an update by `grads`, the updates); step is not counted.

    Frozen parameters, and their averages, are passed on and keep every bit.
    """
    trained = trainable.select(state.params, self.frozen)
    updates, opt_state = self.optimizer.update(grads, state.opt_state, trained)
    trained = optax.apply_updates(trained, updates)
    if self.post_update is not None:
      params = trainable.merge(trained, state.params)
      params = self.post_update(params, state.params, state.step)
      trained = trainable.select(params, self.frozen)
    params, ema = trainable.merge(trained, state.params), state.ema
    if ema is not None:
      averaged = trainable.select(ema, self.frozen)
      averaged = optimizers.ema_update(averaged, trained, self.ema_decay, state.step)
      ema = trainable.merge(averaged, ema)
    return state.replace(params=params, opt_state=opt_state, ema=ema), updates


def random_keys(seed, step):
  """Returns the keys (of the objective, of dropout) of a step, counted from 0."""
  return jax.random.split(jax.random.fold_in(jax.random.key(seed), step))


def accumulate(grad_fn, params, example, rng, count, constrain):
  """Returns (sums, gradients) added up in float32 over `count` microbatches."""

  def split(leaf):
    # Microbatch i takes rows i, i + count, ...: each device keeps its own rows.
    parts = leaf.reshape(leaf.shape[0] // count, count, *leaf.shape[1:])
    return parts.swapaxes(0, 1)

  def add(total, part):
    index, example = part
    example = jax.tree.map(
      lambda leaf: constrain(leaf, 'batch', *[None] * (leaf.ndim - 1)), example
    )
    (_, sums), grads = grad_fn(params, example, jax.random.fold_in(rng, index))
    return jax.tree.map(lambda t, p: t + p.astype(t.dtype), total, (sums, grads)), None

  parts = (jnp.arange(count), jax.tree.map(split, example))
  shapes = jax.eval_shape(grad_fn, params, jax.tree.map(lambda x: x[0], parts[1]), rng)
  # Gradients of half-precision parameters are too coarse to add up.
  (_, sums), grads = jax.tree.map(lambda s: jnp.zeros(s.shape, jnp.float32), shapes)
  (sums, grads), _ = jax.lax.scan(add, (sums, grads), parts)
  return sums, jax.tree.map(lambda grad, p: grad.astype(p.dtype), grads, params)


def evaluate(
  params,
  batch,
  index,
  references=None,
  *,
  loss,
  objective_for,
  metrics,
  byte_lengths,
  vocab_limit,
  attack_epsilon=0.0,
  with_predictions=False,
):
  """Returns the sums over a batch of all metrics, float32 by name; `targets` too.

  Args:
    objective_for: the Objective for rows of so many tokens, which may not be those of
      training.
    vocab_limit: logits over more ids than these are of ids that pad the vocabulary.
    attack_epsilon: of `attack.sums`, which are added; 0: none.
    with_predictions: `predictions` too, those of the objective for each row.
  """
  objective = objective_for(batch['tokens'].shape[1] - 1)
  # What an objective masks at random depends only on the batch's index in its set.
  example = objective(batch, jax.random.fold_in(jax.random.key(0), index))
  sums = loss(params, example, None, references)
  result = sums.metric_sums | {'targets': sums.weight_sum}
  if sums.metric_weight_sum is not None:
    result['unweighted_targets'] = sums.metric_weight_sum
  if objective.predicts_text:
    bytes_BT = _bytes_of_targets(batch, example, byte_lengths)
    if bytes_BT is not None:
      result['bytes'] = jnp.sum(bytes_BT * example.weights_BT)
  with_predictions &= objective.predictions is not None
  if metrics or with_predictions:
    # What the loss has computed of the same example, XLA does not compute again.
    outputs_BTC = outputs_of(objective, loss.forward(params, None, references), example)
  if with_predictions:
    result['predictions'] = objective.predictions(outputs_BTC, example)
  if metrics:
    if not objective.num_outputs:
      outputs_BTC = outputs_BTC[..., :vocab_limit]
    targets = example.targets_BT, example.weights_BT
    result |= output_metrics.sums_of(metrics, outputs_BTC, *targets)
  if attack_epsilon:
    result |= attack.sums(loss, params, example, references, attack_epsilon)
  return result


def _bytes_of_targets(batch, example, byte_lengths):
  """Returns the bytes of text that each target stands for, float32 [B, T], or None."""
  if 'bytes' in batch:  # tokens of some tokenizers stand for other bytes in each text
    return batch['bytes'][:, 1:].astype(jnp.float32)
  if byte_lengths is None:
    return None
  bytes_V = jnp.asarray(np.asarray(byte_lengths, np.float32))
  return bytes_V[jnp.minimum(example.targets_BT, len(byte_lengths) - 1)]
