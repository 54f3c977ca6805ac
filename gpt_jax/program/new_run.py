"""A new run of one step, made of other models: averages, merged and imported ones."""

import contextlib
import datetime

from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.core.errors import StorageError
from gpt_jax.storage import objects
from gpt_jax.workdir import provenance


def require_new(workdir):
  """Raises StorageError for a Workdir that holds a run."""
  if workdir.config.exists() or workdir.checkpoints.exists():
    raise StorageError(f'{workdir}: holds a run; give a new folder.')


def write(workdir, *, step, items, meta, config, save_tokenizer, made_of):
  """Writes a run into a Workdir; whatever fails, nothing is left of it.

  Args:
    items, meta: of `Checkpoints.save`, of its only `step`.
    config: nested dicts of JSON values.
    save_tokenizer: called with the folder of the tokenizer.
    made_of: what its start in run.json says besides.
  """
  require_new(workdir)
  was_there = workdir.path.exists()
  try:
    workdir.create()
    with workdir.lock() as lock:
      save_tokenizer(workdir.tokenizer)
      with Checkpoints(
        workdir.checkpoints, keep_last=1, keep_best=0, best_metric='',
        asynchronous=False, lock=lock,
      ) as store:  # fmt: skip
        store.save(step, items, meta)
      workdir.write_config(config)
      now = datetime.datetime.now(datetime.UTC)
      start = provenance.collect(now=now) | {'step': step} | made_of
      provenance.add_start(workdir, start)
  except BaseException:
    for path in (workdir.checkpoints, workdir.tokenizer):
      objects.remove_tree(path)
    for path in (workdir.config, workdir.run):
      path.unlink(missing_ok=True)
    if not was_there:
      with contextlib.suppress(OSError):
        workdir.path.rmdir()
    raise


def copied(folder):
  """Returns the `save_tokenizer` that copies the files of a folder."""

  def save(target_folder):
    for path, _ in objects.files_below(folder):
      target = target_folder / path.relative_to(folder)
      target.parent.mkdir(parents=True, exist_ok=True)
      target.write_bytes(path.read_bytes())

  return save
