"""What hooks and the loop work on: the `Session` stays, steps move the `Progress`."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gpt_jax.checkpoints import manager
from gpt_jax.core.errors import StorageError
from gpt_jax.data import pipeline
from gpt_jax.data.tokenizers import Tokenizer
from gpt_jax.parallel import multihost
from gpt_jax.program.base import Base
from gpt_jax.program.build import Program
from gpt_jax.program.state import TrainState
from gpt_jax.tasks.dataset import TaskDataset
from gpt_jax.tracking import writers
from gpt_jax.tracking.console import TrainConsole
from gpt_jax.train import preemption
from gpt_jax.train.early_stopping import Watched
from gpt_jax.train.rollback import Rollbacks
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir


@dataclasses.dataclass(frozen=True)
class Session:
  """The parts of a run, from one start of it to its end."""

  workdir: Workdir
  tokenizer: Tokenizer
  program: Program
  dataset: pipeline.Dataset | TaskDataset
  eval_sets: Mapping[str, pipeline.Dataset | TaskDataset]
  test_set: TaskDataset | None  # of a task: scored once, at the end
  fingerprints: dict[str, Any]  # of the tokenizer and of the data
  store: manager.Checkpoints
  signals: preemption.Watch
  console: TrainConsole
  tracker: writers.Tracker

  @property
  def config(self):
    return self.program.config

  def track(self, step, values):
    """Records `values`, numbers by name, at `step`."""
    self.tracker.write(step, values, tokens=self.program.horizon.tokens_at(step))

  @contextlib.contextmanager
  def warn_if_unwritable(self, step, path):
    """Says that `path` was not written, in place of ending the training for it."""
    try:
      yield
    except (OSError, StorageError) as error:
      self.console.note(f'step {step}: {path} was not written: {error}')


@dataclasses.dataclass
class SkipCounts:
  """Steps without an update; a part of each checkpoint's record."""

  skipped: int = 0  # since step 0
  in_a_row: int = 0


@dataclasses.dataclass
class Progress:
  """How far a run is."""

  held: TrainState | Callable[[], TrainState]  # the state, or what takes it out
  step: int  # steps done
  scores: dict[str, float]  # metrics of the eval sets, after `scored_step`
  scored_step: int
  rollbacks: Rollbacks  # with the step, they say what it reads
  skips: SkipCounts
  events: list[dict]  # those of run.json, on every process
  batch: Any = None  # that the last step has read, this process's rows
  events_unsaved: bool = False  # whether run.json lacks some: its disk was full
  watched: Watched = Watched()  # by early stopping
  base: Base | None = None  # of the parameters that are not saved
  stop_reason: str = ''  # set by a hook, on all processes: the run ends after this step

  @property
  def state(self) -> TrainState:
    """Returns the state, donated by the next step: keep no reference."""
    # Runs that train together have theirs in one array each: `together.py`.
    return self.held() if callable(self.held) else self.held

  @state.setter
  def state(self, state):
    self.held = state


@dataclasses.dataclass(frozen=True)
class Step:
  """A step that `loop.run` asks for: `progress.state` updated, metrics for an answer.

  Whoever drives the run computes it: `alone.py`, or `together.py` with those of others.
  """

  session: Session
  progress: Progress
  rows: dict[str, Any]  # this process's rows of the batch, on the host
  with_norms: bool
  is_first: bool  # of this start
  is_new: bool  # the first of this batch size


def add_event(session, progress, event):
  """Adds `event` to run.json, now or as soon as its disk has space."""
  progress.events.append(event)
  flush_events(session, progress)


def flush_events(session, progress):
  """Brings run.json up to date, or warns that it is not."""
  progress.events_unsaved = True
  with session.warn_if_unwritable(progress.step, session.workdir.run):
    write_events(session, progress)


def write_events(session, progress):
  """Brings run.json up to date; raises StorageError where it cannot."""
  if multihost.is_primary():
    provenance.write_events(session.workdir, progress.events)
  progress.events_unsaved = False


def events_up_to(step, events):
  """Returns the events up to `step`, and all rollbacks."""
  # Later ones will happen again; rollbacks decide what the steps read.
  return [e for e in events if e['kind'] == 'rollback' or e['step'] <= step]
