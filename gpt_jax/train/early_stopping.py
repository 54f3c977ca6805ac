"""Early stopping: a run ends when its held-out metric has not improved for long."""

import dataclasses
import math

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest


@dataclasses.dataclass(frozen=True)
class Watched:
  """How a metric has gone until now; a part of each checkpoint's record."""

  best: float | None = None
  best_step: int = 0
  evaluations_since: int = 0

  def after(self, value, step, sign, min_delta):
    """Returns what follows an evaluation; `sign` -1 where lower is better.

    A value that is not finite is no improvement.
    """
    better = math.isfinite(value) and (
      self.best is None or sign * (value - self.best) > min_delta
    )
    if better:
      return Watched(value, step, 0)
    return dataclasses.replace(self, evaluations_since=self.evaluations_since + 1)


def metric_of(config):
  """Returns (SET/METRIC, 'min' or 'max') that early stopping of a Config watches."""
  stopping, checkpoint = config.early_stopping, config.checkpoint
  if stopping.metric:
    return stopping.metric, stopping.mode
  return checkpoint.best_metric, checkpoint.best_mode


def observe(session, progress):
  """Takes note of an evaluation, and ends the run where patience is at its end."""
  config = session.config
  name, mode = metric_of(config)
  if name not in progress.scores:
    hint = nearest(name, progress.scores)
    raise ConfigError(
      f'early_stopping.metric={name!r}: expected one of'
      f' {", ".join(sorted(progress.scores))}'
      + (f'; did you mean {hint!r}?' if hint else '.')
    )
  sign = 1 if mode == 'max' else -1
  progress.watched = progress.watched.after(
    progress.scores[name], progress.step, sign, config.early_stopping.min_delta
  )
  progress.stop_reason = reason(config, progress.watched) or progress.stop_reason


def reason(config, watched):
  """Returns why a run ends early, '' where it goes on."""
  patience = config.early_stopping.patience
  if not patience or watched.evaluations_since < patience:
    return ''
  name, mode = metric_of(config)
  best = 'none was finite'
  if watched.best is not None:
    best = f'the best, {watched.best:.4f}, was that of step {watched.best_step}'
  return (
    f'{name} ({mode}) has not improved for {watched.evaluations_since} evaluations'
    f' (early_stopping.patience={patience}); {best}'
  )
