"""Where a run's metrics go: `metrics.jsonl`, TensorBoard, Weights & Biases.

A writer has `write(step, values, tokens=, time=)`, `flush()` and `close()`. A new one
is a class and a line in WRITERS; its `open` returns None when the config does not ask
for it.
"""

import contextlib
import socket
import struct
import time
import uuid
from typing import Any

import jax

from gpt_jax.core.errors import ConfigError, StorageError, require_extra
from gpt_jax.storage import growing, scratch
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote
from gpt_jax.tracking import append_file
from gpt_jax.tracking.metrics_file import MetricsFile
from gpt_jax.workdir.paths import Workdir


class TensorBoard:
  """Writes scalars as TensorBoard events, named like the metrics."""

  # Not by tensorboardX's writer: its thread dies on a full disk, and `write` blocks.

  def __init__(self, folder, restored_step=0):
    # TensorBoard reads the files of a folder by name, so the name is the time.
    name = f'events.out.tfevents.{time.time():.6f}.{socket.gethostname()}'
    version = _record(wall_time=time.time(), file_version='brain.Event:2')
    if is_remote(folder):  # a file of events for each part
      self._file = growing.Growing(folder, lambda n: f'{name}.{n:06d}', header=version)
    else:
      self._file = append_file.Appender(place(folder) / name)
      self._file.append(version)
    # Hides what a run wrote beyond the checkpoint that it resumed from.
    start = dict(session_log=dict(status='START'))
    self._file.append(_record(wall_time=time.time(), step=restored_step + 1, **start))

  def write(self, step, values, *, tokens, time):
    scalars = [
      dict(tag=name, simple_value=value)
      for name, value in (values | {'tokens': tokens}).items()
    ]
    summary = dict(value=scalars)
    self._file.append(_record(wall_time=time, step=step, summary=summary))

  def flush(self):
    self._file.flush()

  def close(self):
    self._file.close()


def _record(**event):
  """Returns an event as a TFRecord: length, its checksum, content, its checksum."""
  from tensorboardX.proto import event_pb2
  from tensorboardX.record_writer import masked_crc32c

  event_class: Any = vars(event_pb2)['Event']  # generated at import
  content = event_class(**event).SerializeToString()
  length = struct.pack('<Q', len(content))
  crcs = [struct.pack('<I', masked_crc32c(part)) for part in (length, content)]
  return length + crcs[0] + content + crcs[1]


class WandB:
  """Writes to Weights & Biases; a resumed run continues under the same id."""

  def __init__(self, project, folder, run_config):
    try:
      import wandb
    except ImportError as error:
      raise ConfigError(
        f'logging.wandb_project={project!r} {require_extra("wandb", "wandb")},'
        " or set logging.wandb_project=''."
      ) from error
    folder = place(folder)
    name = folder.name if is_remote(folder) else folder.resolve().name
    self._run = wandb.init(
      project=project,
      dir=str(scratch.folder('wandb') if is_remote(folder) else folder),
      name=name,
      id=_persistent_id(folder / 'wandb' / 'run_id'),
      config=run_config,
      resume='allow',
    )

  def write(self, step, values, *, tokens, time):
    # Without step=: W&B drops steps below its own counter, and a resumed run repeats
    # the steps after its checkpoint. `step` is an axis like `tokens`.
    self._run.log(values | {'step': step, 'tokens': tokens})

  def flush(self):
    """Does nothing: W&B uploads by itself."""

  def close(self):
    self._run.finish()


def _open_metrics_file(logging, workdir, restored_step, run_config):
  return MetricsFile(workdir.metrics, restored_step)


def _open_tensorboard(logging, workdir, restored_step, run_config):
  if logging.tensorboard:
    return TensorBoard(workdir.tensorboard, restored_step)


def _open_wandb(logging, workdir, restored_step, run_config):
  if logging.wandb_project:
    return WandB(logging.wandb_project, workdir.path, run_config)


WRITERS = {
  'metrics_file': _open_metrics_file,
  'tensorboard': _open_tensorboard,
  'wandb': _open_wandb,
}
"""name -> open(logging, workdir, restored_step, run_config) -> writer or None."""


class Tracker:
  """Writes each record with all of its writers, as plain numbers."""

  def __init__(self, writers, clock=time.time):
    self._writers = list(writers)
    self._clock = clock

  def write(self, step, values, *, tokens):
    """Records `values`, scalars by flat name, and how many `tokens` were seen."""
    if self._writers:
      now = self._clock()
      # Waits for the step that computes them: pass those of one that is done.
      numbers = {name: _number(value) for name, value in values.items()}
      for writer in self._writers:
        writer.write(int(step), numbers, tokens=int(tokens), time=now)

  def flush(self):
    """Makes readers see what was recorded; StorageError where that cannot be."""
    for writer in self._writers:
      writer.flush()

  def close(self):
    for writer in self._writers:
      writer.close()

  def __enter__(self):
    return self

  def __exit__(self, kind, *exception):
    # The error that ends the run is raised, not what can no longer be written.
    with contextlib.suppress(StorageError) if kind else contextlib.nullcontext():
      self.close()


def open_tracker(logging, workdir, *, restored_step=0, run_config=None):
  """Returns a Tracker with the writers that `logging` asks for; none but on process 0.

  Earlier records beyond `restored_step` are dropped. `run_config` is a nested dict.
  """
  if jax.process_index() != 0:
    return Tracker([])
  workdir = Workdir(workdir)
  opened = [
    open_writer(logging, workdir, restored_step, run_config)
    for open_writer in WRITERS.values()
  ]
  return Tracker(writer for writer in opened if writer is not None)


def _number(value):
  return value.item() if hasattr(value, 'item') else value


def _persistent_id(path):
  """Returns the id in the file `path`, drawn the first time."""
  if not path.exists():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(uuid.uuid4().hex[:12])
  return path.read_text()
