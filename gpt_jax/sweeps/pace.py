"""How far runs are and how long they may take: steps from metrics.jsonl, seconds."""

import dataclasses
import json
import math
import statistics

from gpt_jax.sweeps import costs, states
from gpt_jax.tracking import metrics_file
from gpt_jax.workdir.paths import Workdir

TAIL_BYTES = 16_384
MAX_TIMED = 20  # finished points whose time is read


@dataclasses.dataclass(frozen=True)
class LastLogged:
  """The last line of a run's metrics that has a loss."""

  step: int = 0
  loss: float | None = None
  time: float = 0.0  # seconds since 1970


def last_logged(workdir):
  """Returns what metrics.jsonl of a run ends with, without reading all of it."""
  try:
    lines = metrics_file.tail(Workdir(workdir).metrics, TAIL_BYTES).splitlines()
  except OSError:
    return LastLogged()
  for line in reversed(lines):
    try:
      record = json.loads(line)
      loss = record['train/loss']
      loss = math.nan if loss is None else loss  # null: not finite
      return LastLogged(record['step'], loss, record['time'])
    except (ValueError, KeyError, TypeError):
      continue  # cut off, or an evaluation
  return LastLogged()


def approximate_flops(config):
  """Returns the FLOPs of a run, about: for comparisons with other runs."""
  model = config.model
  heads = model.num_heads * model.head_dim
  matrices = 2 if model.activation.startswith(('gelu', 'relu', 'silu')) else 3
  per_layer = 2 * model.d_model * (heads + model.num_kv_heads * model.head_dim)
  per_layer += matrices * model.d_model * model.d_ff + 2 * config.data.seq_len * heads
  vocabulary = model.d_model * (model.vocab_size or 256)
  tokens = states.total_steps(config) * config.train.batch_size * config.data.seq_len
  return 6.0 * tokens * (model.num_layers * per_layer + vocabulary)


class Estimate:
  """Seconds of points, from those that are done, or from what the size states."""

  def __init__(self, study, done):
    """Takes the Study and its finished points."""
    self._work = {point.name: approximate_flops(point.config) for point in study.points}
    self._rates = []
    for point in done[-MAX_TIMED:]:
      parts = costs.intervals(point.workdir)
      self.add(point, sum(end - begin for begin, end in parts))
    minutes, total = (
      study.experiment.sizes[study.size].minutes,
      sum(self._work.values()),
    )
    self._stated = 60.0 * minutes / total if total else 0.0

  @property
  def is_measured(self):
    """Returns whether finished points are known."""
    return bool(self._rates)

  def add(self, point, seconds):
    """Learns from a point that has taken so long."""
    if seconds > 0:
      self._rates.append(seconds / self._work[point.name])

  def seconds(self, point, share=1.0):
    """Returns the seconds that a `share` of the steps of `point` takes, about."""
    return self.seconds_of([point]) * share

  def seconds_of(self, points):
    """Returns the seconds of `points` together, one after the other."""
    rate = statistics.median(self._rates) if self._rates else self._stated
    return rate * sum(self._work[point.name] for point in points)


def share_left(point):
  """Returns the share of its steps that a run has still to make."""
  return max(
    0.0, 1.0 - last_logged(point.workdir).step / states.total_steps(point.config)
  )
