"""What is timed: a program, a batch for it, and the state that its steps move."""

import dataclasses
from typing import Any

import numpy as np

from gpt_jax.program.batches import put_batch
from gpt_jax.program.build import Program
from gpt_jax.program.state import TrainState


@dataclasses.dataclass
class Workload:
  """One run under measurement. `state` moves: each step donates the one before."""

  program: Program
  state: TrainState
  batch: dict[str, Any]
  num_ids: int
  """Ids that may stand in a text."""
  workdir: str
  """A folder for tokenizer and token cache."""
  first_loss: dict[str, float] = dataclasses.field(default_factory=dict)
  """Of the first step, by who took it: the same, if the models are."""

  @property
  def config(self):
    return self.program.config

  @property
  def rows(self):
    """Sequences of a step."""
    return len(self.batch['tokens'])

  @property
  def tokens(self):
    """Tokens that a step predicts from, over all rows."""
    return self.rows * self.config.data.seq_len


def make(program, shapes, *, num_ids, workdir):
  """Returns the Workload of a Program with random tokens.

  Args:
    shapes: the batch as ShapeDtypeStructs by name.
  """
  batch = put_batch(program, random_batch(shapes, num_ids))
  state = program.init(program.config.seed)
  return Workload(program, state, batch, num_ids, str(workdir))


def random_batch(shapes, num_ids):
  """Returns a batch of uniform ids, one document a row, always the same."""
  rng = np.random.default_rng(0)
  rows, length = shapes['tokens'].shape
  batch = {
    'tokens': rng.integers(0, num_ids, (rows, length), np.int32),
    'segments': np.ones((rows, length), np.int32),
    'positions': np.tile(np.arange(length, dtype=np.int32), (rows, 1)),
  }
  return {name: batch[name] for name in shapes}
