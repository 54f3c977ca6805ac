"""Points that differ in some numbers alone train together: an executor of `runner.run`.

`fields` are the numbers that may differ. Points of one group, which agree in all else,
are one program (`train/together.py`); each keeps its own workdir and may be finished by
a start without this, or the other way round.
"""

import collections
import dataclasses

import jax
import rich.console

from gpt_jax.core.errors import ConfigError, Interrupted, StorageError
from gpt_jax.parallel import multihost
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program.shared import SharedPrograms
from gpt_jax.sweeps import attempt, states
from gpt_jax.tracking import console
from gpt_jax.train import loop, preemption, together
from gpt_jax.workdir.paths import Workdir


class Vectorized:
  """Trains the points of a group at once, group after group, in this process."""

  is_stopping = False  # a signal raises Interrupted in the training

  def __init__(self, points, fields):
    self._fields = fields
    self._group_of = {point.name: group_key(point, fields) for point in points}
    self._sizes = collections.Counter(self._group_of.values())
    self._programs = SharedPrograms(
      [point.config for point in points], jax.local_devices()[:1]
    )
    self._points, self._ended, self.groups = [], iter(()), []

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    pass

  @property
  def capacity(self):
    return max(self._sizes.values())
