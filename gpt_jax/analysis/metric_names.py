"""Which metrics a run will write: misspelt names are told before there is a run."""

import re

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.sweeps import costs

PLACES = ('step', 'tokens', 'time')
"""Of every record; curves may be read of them."""
SCORES = (
  'loss', 'perplexity', 'accuracy', 'tokens', 'documents', 'bits_per_byte', 'entropy',
  'excess', 'macro_f1',
)  # fmt: skip
"""Of every evaluation set, though not of every objective or text."""
OF_EVAL_METRICS = {
  'top5_accuracy': 'top5_accuracy',
  'macro_f1': 'macro_f1',
  'calibration_error': 'calibration_error',
  'loss_by_position': r'icl_score|loss_after_\d+(_to_\d+)?',
}
"""Entry of `eval.metrics` -> pattern of what it writes."""
ATTACKED = ('attacked_loss', 'attacked_accuracy')
"""Of every evaluation set, with `eval.attack_epsilon`."""
OF_OBJECTIVES = {'layer_skip': r'loss_at_layer_\d+'}
"""Entry of `objective.name` -> pattern of what it adds to every evaluation set."""
OF_METHODS = {
  'adalora': r'train/(orthogonality|rank|rank_budget)|ranks/[\w/]+/layer_\d+'
}
"""Entry of `peft.name` -> pattern of what it writes."""
TRAIN = (
  'loss', 'accuracy', 'objective', 'targets', 'grad_norm', 'learning_rate', 'skipped',
  'auxiliary_loss', 'exit_loss', 'adversarial_loss', 'r_drop_divergence', 'l2_sp',
  'highest_loss', 'tokens_per_second', 'mfu',
  'compile_seconds', 'compile_cache_hit',
)  # fmt: skip
NORMS = ('param', 'grad', 'update')


def require_known(metric, config):
  """Raises ConfigError for a name that no run of `config` writes.

  What plug-ins write is not known before: with one of them its names are let pass.
  """
  if not isinstance(metric, str) or not metric:
    raise ConfigError(f'{metric!r}: expected the name of a metric.')
  if metric in PLACES or metric in costs.COSTS:
    return
  if re.fullmatch(OF_METHODS.get(config.peft.name, ''), metric):
    return
  first, slash, rest = metric.partition('/')
  if not slash:
    raise _unknown(metric, 'no metric of a run', names(config))
  if first == 'statistics':
    _require_listed(metric, rest.partition('/')[0], config.logging.statistics)
  elif first in NORMS:
    if not config.logging.layer_norms_every_steps:
      raise ConfigError(
        f'{metric!r}: needs logging.layer_norms_every_steps, which is 0.'
      )
  elif first == 'train':
    is_rate = re.fullmatch(r'learning_rate_\w+', rest)
    if rest not in TRAIN and not is_rate and ':' not in config.objective.name:
      raise _unknown(metric, 'no metric of training steps', names(config))
  else:
    _require_score(metric, config)


def names(config):
  """Returns the names that a run of `config` may write, of patterns one example."""
  scores = [*SCORES, *(['icl_score'] * ('loss_by_position' in config.eval.metrics))]
  scores += [name for name in config.eval.metrics if name in OF_EVAL_METRICS]
  scores += ATTACKED if config.eval.attack_epsilon else ()
  return [
    *costs.COSTS,
    *(f'{one}/{score}' for one in config.eval.sets for score in scores),
    *(f'train/{name}' for name in TRAIN),
    *(f'statistics/{name}' for name in config.logging.statistics),
  ]


def _require_score(metric, config):
  name, _, score = metric.rpartition('/')
  sets = config.eval.sets
  if name not in sets:
    hint = nearest(name, sets)
    known = f'did you mean {hint!r}?' if hint else f'eval.sets: {", ".join(sets)}'
    raise ConfigError(f'{metric!r}: no evaluation set {name!r}; {known}')
  listed = config.eval.metrics
  if score in SCORES or ':' in f'{config.objective.name}{listed}':
    return
  for entry, pattern in OF_EVAL_METRICS.items():
    if re.fullmatch(pattern, score):
      if entry not in listed:
        raise ConfigError(f'{metric!r}: needs {entry!r} in eval.metrics={listed}.')
      return
  if score in ATTACKED:
    if not config.eval.attack_epsilon:
      raise ConfigError(f'{metric!r}: needs eval.attack_epsilon, which is 0.')
    return
  own = OF_OBJECTIVES.get(config.objective.name)
  if not (own and re.fullmatch(own, score)):
    raise _unknown(metric, 'no metric of an evaluation set', names(config))


def _require_listed(metric, name, listed):
  if name not in listed and ':' not in f'{listed}':
    raise ConfigError(
      f'{metric!r}: needs {name!r} in logging.statistics={listed}, and'
      ' logging.statistics_every_steps.'
    )


def _unknown(metric, what, known):
  whole = [name for name in known if name.endswith(f'/{metric}')]
  hint = whole[0] if whole else nearest(metric, known)
  told = f'did you mean {hint!r}?' if hint else f'known: {", ".join(known)}'
  return ConfigError(f'{metric!r}: {what}; {told}')
