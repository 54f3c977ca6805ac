"""Distillation: a run learns another run's distribution of each target.

  loss = (1 - w) CE(target) + w T^2 KL(teacher_T || student_T) + h distance of streams

(arXiv:1503.02531, section 2; hidden states as in `hidden_distance`.) The teacher is one
of the Program's reference models: placed as a student is, without gradient, in no
checkpoint. Evaluation scores the targets alone, and a finished run needs no teacher.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.objectives import losses
from gpt_jax.program import cutoff, hidden_distance
from gpt_jax.program.hidden_distance import TEACHER
from gpt_jax.program.loss import outputs_of

DIVERGENCE, HIDDEN = 'distill_divergence', 'distill_hidden'
METRICS = (DIVERGENCE, HIDDEN)
"""KL at the temperature, nats a target; mean distance of the streams. Unweighted."""


def references(config):
  """Returns {name: workdir} of the other models that the loss of a Config reads."""
  found = dict(objectives.describe(config).references)
  return found | ({TEACHER: config.distill.teacher} if config.distill.teacher else {})


def without(config):
  """Returns `config` of a run that is there to be used: its teacher may be gone."""
  if not config.distill.teacher:
    return config
  distill = dataclasses.replace(config.distill, teacher='')
  return dataclasses.replace(config, distill=distill)


def distill(config, objective, loss, vocab_limit, reference_configs):
  """Returns the `program.loss.Loss` of a Config's `distill`; `loss` where it has none.

  Its evaluations are those of `loss`. `vocab_limit`: ids of the tokenizer and of the
  objective, of which both models have a logit each.
  """
  cfg = config.distill
  if not cfg.teacher:
    return loss
  check_teacher(config, reference_configs[TEACHER], vocab_limit)
  teacher_objective = objectives.describe(reference_configs[TEACHER])
  options = dict(
    label_smoothing=config.objective.label_smoothing,
    z_loss=config.objective.z_loss,
    vocab_limit=None if objective.num_outputs else vocab_limit,
  )
  rate = config.regularization.cutoff
  prepare = functools.partial(cutoff.applied, rate=rate) if rate else _same
  pairs = hidden_distance.pairs(config, reference_configs[TEACHER])
  evaluated = loss.function

  def function(forward, example):
    if forward.step is None:
      return evaluated(forward, example)
    student, teacher = prepare(forward), forward.references[TEACHER]
    if pairs:
      student, teacher = student.watching(), teacher.watching()
    outputs_BTC = outputs_of(objective, student, example)
    targets_BTC = outputs_of(teacher_objective, teacher, example)
    sums = soft_loss(outputs_BTC, targets_BTC, example, cfg, options)
    if not pairs:
      return sums
    distance = hidden_distance.total(cfg.hidden_loss, pairs, student, teacher, example)
    return dataclasses.replace(
      sums,
      objective_sum=sums.objective_sum + cfg.hidden_weight * distance,
      metric_sums=sums.metric_sums | {HIDDEN: distance},
    )

  # All logits of a microbatch exist at once, whatever an evaluation does.
  return dataclasses.replace(loss, name='plain', function=function)


def _same(forward):
  return forward


def soft_loss(outputs_BTC, teacher_BTC, example, cfg, options):
  """Returns the LossSums of outputs against targets and a teacher's outputs."""
  sums = losses.cross_entropy(
    outputs_BTC,
    example.targets_BT,
    example.weights_BT,
    loss_weights_BT=example.loss_weights_BT,
    **options,
  )
  weights_BT = example.loss_weights_BT
  if weights_BT is None:
    weights_BT = example.weights_BT
  divergence_BT = divergence(
    teacher_BTC, outputs_BTC, cfg.temperature, options.get('vocab_limit')
  )
  total = jnp.sum(weights_BT * divergence_BT)
  soft = cfg.weight * cfg.temperature**2 * total
  return dataclasses.replace(
    sums,
    objective_sum=(1 - cfg.weight) * sums.objective_sum + soft,
    metric_sums=sums.metric_sums | {DIVERGENCE: total},
  )


def divergence(teacher_BTC, student_BTC, temperature, limit=None):
  """Returns KL(teacher || student) at a temperature, nats, float32 [B, T].

  Logits from `limit` on, of which the models may have different numbers, have no
  probability; None: all have some.
  """
  size = min(teacher_BTC.shape[-1], student_BTC.shape[-1])
  is_real_C = jnp.arange(size) < (limit or size)

  def log_probs(logits_BTC):
    logits_BTC = logits_BTC[..., :size].astype(jnp.float32) / temperature
    log_z_BT1 = jax.nn.logsumexp(logits_BTC, axis=-1, where=is_real_C, keepdims=True)
    return logits_BTC - log_z_BT1

  p_BTC, q_BTC = log_probs(teacher_BTC), log_probs(student_BTC)
  return jnp.sum(jnp.exp(p_BTC) * (p_BTC - q_BTC), axis=-1, where=is_real_C)


def check_objective(config, objective):
  """Raises ConfigError for an Objective without a distribution of each target."""
  name, text = config.objective.name, ''
  if not config.distill.teacher:
    return
  if objective.loss is not None or objective.exits is not None:
    text = 'has a loss of its own, which knows no teacher'
  elif objective.num_outputs == 1:
    text = 'predicts a number, not a distribution'
  if text:
    raise ConfigError(
      f'distill.teacher={config.distill.teacher!r}: objective.name={name!r} {text};'
      ' set "", or an objective of tokens or classes, such as causal_lm or'
      ' class_labels.'
    )


def check_teacher(config, teacher, vocab_limit=None):
  """Raises ConfigError where the Config of a teacher does not fit that of its student.

  `vocab_limit`: ids that are predicted; None: not known yet.
  """
  objective, other = objectives.describe(config), objectives.describe(teacher)
  check_objective(config, objective)
  field = f'distill.teacher={config.distill.teacher!r}'
  ours, theirs = (
    (one.num_outputs or 'the tokens', one.visibility) for one in (objective, other)
  )
  if ours != theirs:
    raise ConfigError(
      f'{field}: its outputs are of {theirs[0]} and its tokens see what is'
      f' {theirs[1]} (objective.name={teacher.objective.name!r}); here'
      f' {config.objective.name!r} has outputs of {ours[0]}, {ours[1]}. Use a teacher'
      ' with this objective and its options.'
    )
  ours, theirs = _labels(config), _labels(teacher)
  if objective.num_outputs and ours and theirs and ours != theirs:
    raise ConfigError(
      f'{field}: its labels are {", ".join(theirs)}, here {", ".join(ours)}; the order'
      ' counts too.'
    )
  size = teacher.model.vocab_size
  if not objective.num_outputs and vocab_limit and size and size < vocab_limit:
    raise ConfigError(
      f'{field}: has {size} ids, and tokenizer and objective use {vocab_limit} here;'
      ' use a teacher with the same tokenizer and objective.'
    )
  hidden_distance.check(config, teacher)


def _labels(config):
  return tuple(config.task.label_names or config.data.label_names)


def problems(config):
  """Yields the Problems of a Config's `distill`, whatever the teacher is."""
  cfg, regularization = config.distill, config.regularization
  yield from hidden_distance.problems(config)
  if not cfg.teacher:
    return
  for name in ('mixup', 'r_drop'):
    if value := getattr(regularization, name):
      yield Problem(
        'distill.teacher',
        f'={cfg.teacher!r}: does not go with regularization.{name}={value:g}, which'
        ' makes its loss of several passes; leave one of them out',
      )
  if config.objective.loss == 'fused':
    yield Problem(
      'objective.loss',
      '="fused": never has all logits, which distill.teacher compares; set "auto"',
    )
