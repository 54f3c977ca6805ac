"""One trial of a search: a run like any other, which a bad intermediate score ends."""

import dataclasses
import math

from gpt_jax.core.errors import (
  ConfigError,
  DivergedError,
  Interrupted,
  StorageError,
)
from gpt_jax.core.registry import nearest
from gpt_jax.execution import attempt
from gpt_jax.sweeps import states
from gpt_jax.tracking import metrics_file
from gpt_jax.train import hooks, loop
from gpt_jax.workdir.paths import Workdir

COMPLETE, PRUNED, DIVERGED, FAILED = 'complete', 'pruned', 'diverged', 'failed'


class NoSuchMetric(ConfigError):
  """The experiment compares runs by a metric that they have not."""


@dataclasses.dataclass(frozen=True)
class Ended:
  """What became of a trial."""

  kind: str  # one of the four above
  value: float = math.nan  # of the metric
  step: int = 0  # the last one
  why: str = ''
  error: BaseException | None = None  # of a failed one


def rung_steps(config, num_rungs, reduction_factor):
  """Returns the steps after which successive halving compares trials, ascending."""
  total = states.total_steps(config)
  first = total // reduction_factor**num_rungs
  if num_rungs and first < 1:
    raise ConfigError(
      f'--rungs={num_rungs}: a trial has {total} steps, of which the first rung would'
      f' be less than one; give fewer rungs, --rungs=0 for none.'
    )
  return tuple(first * reduction_factor**k for k in range(num_rungs))


class Rung:
  """Reports the metric of a run to its trial, and ends the run where that is bad."""

  def __init__(self, reporter, metric):
    self._reporter, self._metric = reporter, metric

  def __call__(self, session, progress):
    step = progress.step
    if progress.scored_step != step:
      hooks.evaluate(session, progress)
    value = read_metric(self._metric, progress.scores, session.workdir)
    if not math.isfinite(value):
      progress.stop_reason = f'{self._metric} is {value}'
      return
    if self._reporter.is_bad(value, step):
      progress.stop_reason = (
        f'pruned: {self._metric} {value:.4f} is not among the best at this step'
      )


def run_trial(point, reporter, metric, rungs, on_step=None):
  """Returns the Ended of training `point`; output goes to WORKDIR/logs.

  Args:
    reporter: a `search.Reporter`, which `Rung` tells of scores.
    on_step: called with (step, total steps) now and then.
  Raises Interrupted once the present step is saved, and StorageErrors; the trial may
  be taken up again after both.
  """
  if reporter.pruned_at:  # killed between the decision and the end of its run
    return Ended(PRUNED, step=reporter.pruned_at)
  total = states.total_steps(point.config)
  reached = 0

  def note_step(session, progress):
    nonlocal reached
    reached = progress.step
    if on_step:
      on_step(progress.step, total)

  extra = (
    hooks.At(rungs, Rung(reporter, metric)),
    hooks.Every(max(1, total // 50), note_step, at_end=True),
  )
  workdir = Workdir(point.workdir)
  try:
    with attempt.output_to(workdir.logs / attempt.LOG):
      scores = loop.train(point.config, point.workdir, extra_hooks=extra)
    value = read_metric(metric, scores, workdir)
  except DivergedError as error:
    return Ended(DIVERGED, step=reached, why=attempt.first_line(error))
  except (Interrupted, StorageError, NoSuchMetric, KeyboardInterrupt, SystemExit):
    raise
  except Exception as error:  # any: other values of the fields may do
    text = attempt.first_line(error)
    attempt.failed(point, text, getattr(error, 'exit_code', attempt.BUG), error)
    return Ended(FAILED, step=reached, why=text, error=error)
  if reporter.pruned_at:
    return Ended(PRUNED, value, reporter.pruned_at)
  if not math.isfinite(value):
    return Ended(DIVERGED, value, reached, f'{metric} is {value}')
  return Ended(COMPLETE, value, total)


def read_metric(name, scores, workdir):
  """Returns a metric of a run: of its last evaluation, else the last recorded one."""
  if name in scores:
    return float(scores[name])
  recorded = metrics_file.read(workdir.metrics)
  if recorded.get(name):
    return float(recorded[name][-1][1])
  known = sorted({*scores, *recorded})
  hint = nearest(name, known)
  raise NoSuchMetric(
    f'metric={name!r}: the run has none of this name'
    + (f'; did you mean {hint!r}?' if hint else f': {", ".join(known)}.')
  )
