"""Which regularizers a config has, what they change in a loss, which go together.

Read this first; each has a file of its own. Those of the loss function (`mixup`,
`r_drop`, `cutoff`) act here, `adversarial` and `l2_sp` in `step.py` on gradients.
"""

import dataclasses
import functools

from gpt_jax.core.errors import ConfigError, Problem
from gpt_jax.program import cutoff, mixup, r_drop

_PREFIX = 'regularization.'


def regularize(config, objective, loss, vocab_limit):
  """Returns the `program.loss.Loss` that trains with the regularizers of a Config.

  Its evaluations are those of `loss`; without regularizers it is `loss` itself. Raises
  ConfigError for an Objective that they do not know how to change.
  """
  check_objective(config, objective)
  cfg = config.regularization
  prepare = _same
  if cfg.cutoff:
    prepare = functools.partial(cutoff.applied, rate=cfg.cutoff)
  options = dict(
    label_smoothing=config.objective.label_smoothing,
    z_loss=config.objective.z_loss,
  )
  if not objective.num_outputs:
    options['vocab_limit'] = vocab_limit
  evaluated = loss.function
  if cfg.mixup:
    trained = mixup.make(objective, cfg.mixup, options, prepare)
  elif cfg.r_drop:
    trained = r_drop.make(objective, cfg.r_drop, options, prepare)
  elif cfg.cutoff:

    def trained(forward, example):
      return evaluated(prepare(forward), example)

  else:
    return loss

  def function(forward, example):
    is_evaluation = forward.step is None
    return (evaluated if is_evaluation else trained)(forward, example)

  # All logits of a microbatch exist at once, whatever an evaluation does.
  name = 'plain' if cfg.r_drop else loss.name
  return dataclasses.replace(loss, name=name, function=function)


def _same(forward):
  return forward


def check_objective(config, objective):
  """Raises ConfigError where an Objective has no place for what a Config asks for."""
  cfg, name = config.regularization, config.objective.name
  if cfg.mixup and not objective.labels_texts:
    raise ConfigError(
      f'{_PREFIX}mixup={cfg.mixup:g}: mixes texts with one class each, and'
      f' objective.name={name!r} has other targets; set 0, or objective.name='
      '"class_labels".'
    )
  if cfg.r_drop and (objective.loss is not None or objective.exits is not None):
    raise ConfigError(
      f'{_PREFIX}r_drop={cfg.r_drop:g}: compares the outputs of one pass, and'
      f' objective.name={name!r} has a loss of its own; set 0.'
    )
  if objective.loss is None:
    return
  for field, value, off in (
    (f'{_PREFIX}adversarial', cfg.adversarial, 'none'),
    ('eval.attack_epsilon', config.eval.attack_epsilon, 0),
  ):
    if value != off:
      raise ConfigError(
        f'{field}={value!r}: perturbs the tokens of one pass, and objective.name='
        f'{name!r} has a loss of its own, which may make several; set {off!r}.'
      )


def problems(config):
  """Yields the Problems of a Config's regularizers, with each other and the rest."""
  cfg = config.regularization
  if cfg.mixup:
    yield from _mixup_problems(config)
  if cfg.r_drop and not (cfg.cutoff or _has_dropout(config.model)):
    yield Problem(
      f'{_PREFIX}r_drop',
      f'={cfg.r_drop:g}: compares two passes with different dropout, and there is none;'
      ' set model.dropout, such as 0.1',
    )
  if cfg.r_drop and config.objective.loss == 'fused':
    yield Problem(
      'objective.loss',
      f'="fused": never has all logits, which {_PREFIX}r_drop={cfg.r_drop:g} compares;'
      ' set "auto"',
    )
  if cfg.l2_sp and not config.init_from:
    yield Problem(
      f'{_PREFIX}l2_sp',
      f'={cfg.l2_sp:g}: pulls towards the parameters of init_from, which is empty; set'
      ' it, or use optimizer.weight_decay',
    )


def _mixup_problems(config):
  cfg, field = config.regularization, f'{_PREFIX}mixup'
  # A task of texts with classes has one a row, whatever data.packing is.
  if config.data.packing != 'pad' and not config.task.name:
    yield Problem(
      field,
      f'={cfg.mixup:g}: mixes rows, each with one text, and data.packing='
      f'{config.data.packing!r} puts several into a row; set "pad"',
    )
  others = {'adversarial': cfg.adversarial != 'none', 'r_drop': cfg.r_drop > 0}
  for name in (name for name, is_on in others.items() if is_on):
    yield Problem(
      field,
      f'={cfg.mixup:g}: does not go with {_PREFIX}{name}={getattr(cfg, name)!r}, which'
      ' is defined for texts that are what they are; leave one of them out',
    )


def _has_dropout(model):
  rates = (model.embed_dropout, model.attention_dropout, model.residual_dropout)
  filled = [model.dropout if rate is None else rate for rate in rates]
  return any(filled) or model.stochastic_depth > 0
