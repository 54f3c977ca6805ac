"""What is timed: a program, a batch for it, and the state that its steps replace."""

import dataclasses
from typing import Any

import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.program.batches import put_batch
from gpt_jax.program.build import Program
from gpt_jax.program.state import TrainState


@dataclasses.dataclass
class Workload:
  """A program with inputs. Each step donates `state` and puts the next in its place."""

  program: Program
  batch: dict[str, Any]
  num_ids: int  # ids that a text may have
  workdir: str  # a folder for tokenizer and token cache
  first_loss: dict[str, float] = dataclasses.field(default_factory=dict)
  """Of the first step, by side: equal if the models are."""
  _state: TrainState | None = dataclasses.field(default=None, init=False, repr=False)

  @property
  def state(self) -> TrainState:
    """As the last step left it; made when it is first read: not all entries do."""
    if self._state is None:
      self._state = self.program.init(self.config.seed)
    return self._state

  @state.setter
  def state(self, state):
    self._state = state

  @property
  def config(self):
    return self.program.config

  @property
  def rows(self):
    return len(self.batch['tokens'])

  @property
  def tokens(self):
    return self.rows * self.config.data.seq_len

  def require_text(self, entry):
    """Raises ConfigError for `entry` of a bench where the model writes no text."""
    if not self.program.objective.writes_text:
      raise ConfigError(
        f'objective.name={self.config.objective.name!r}: its model writes no text (it'
        f' is bidirectional or has a task head); leave {entry} out of --what.'
      )


def make_workload(program, shapes, *, num_ids, workdir):
  """Returns the Workload of a Program; `shapes`: its batch as ShapeDtypeStructs."""
  batch = put_batch(program, random_batch(shapes, num_ids))
  return Workload(program, batch, num_ids, str(workdir))


def random_batch(shapes, num_ids):
  # One document a row, the same at every call.
  rng = np.random.default_rng(0)
  rows, length = shapes['tokens'].shape
  batch = {
    'tokens': rng.integers(0, num_ids, (rows, length), np.int32),
    'segments': np.ones((rows, length), np.int32),
    'positions': np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
  }
  return {name: batch.get(name, np.ones((rows, length), np.int32)) for name in shapes}
