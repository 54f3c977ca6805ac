"""A pretrained model of others as a run of ours, at step 0."""

import contextlib
import dataclasses
import datetime
import shutil

import jax

from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.config import load
from gpt_jax.core import process_memory, pytree
from gpt_jax.core.errors import StorageError
from gpt_jax.interop.reader import STEP
from gpt_jax.workdir import provenance

# Each array that is being written holds one data file in memory, and all are written
# at once: all of these together are this share of the parameters, if that is no less
# than the least for each.
_FILES_SHARE, _LEAST_FILE_BYTES = 0.15, 1 << 22


@dataclasses.dataclass(frozen=True)
class Imported:
  """What an import has written."""

  count: int  # of parameters
  num_bytes: int  # of these
  memory_ratio: float | None
  """Most memory taken for reading and writing, of `num_bytes`; None: not known."""


def import_model(model, workdir):
  """Writes the parameters of a ModelReader, its config and tokenizer into a Workdir.

  Returns what was Imported. Raises StorageError for a folder that has a
  run already. Whatever fails, nothing is left of it.
  """
  if workdir.config.exists() or workdir.checkpoints.exists():
    raise StorageError(f'{workdir}: holds a run; give a new folder.')
  was_there = workdir.path.exists()
  try:
    workdir.create()
    with workdir.lock() as lock, _emptied_on_failure(workdir):
      return _write(model, workdir, lock)
  except BaseException:
    if not was_there:
      with contextlib.suppress(OSError):
        workdir.path.rmdir()
    raise


def _write(model, workdir, lock):
  """Returns what was Imported, all of it written."""
  before = process_memory.resident_bytes()
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = {'params': model.abstract(STEP, 'params', here)}
  items = model.restore(STEP, wanted)
  config = load.to_dict(model.config)
  model.tokenizer.save(workdir.tokenizer, _request(config))
  with Checkpoints(
    workdir.checkpoints, keep_last=1, keep_best=0, best_metric='', asynchronous=False,
    lock=lock,
  ) as store:  # fmt: skip
    store.save(STEP, items, _meta(model, config), file_bytes=_file_bytes(items))
  workdir.write_config(config)
  now = datetime.datetime.now(datetime.UTC)
  source = dict(imported=str(model.directory), family=model.family.name)
  provenance.add_start(workdir, provenance.collect(now=now) | {'step': STEP} | source)
  size, peak = pytree.size_bytes(items), process_memory.peak_bytes()
  ratio = None if before is None or peak is None else (peak - before) / size
  return Imported(pytree.count(items['params']), size, ratio)


def _file_bytes(items):
  sizes = [leaf.nbytes for leaf in jax.tree.leaves(items)]
  return max(int(_FILES_SHARE * sum(sizes) / len(sizes)), _LEAST_FILE_BYTES)


def _request(config):
  """Returns which tokenizer it is, as `tokenizers.build` compares it."""
  tokenizer = config['tokenizer']
  request = {'name': tokenizer['name']}
  if tokenizer['name'] == 'ids':
    request['vocab_size'] = tokenizer['vocab_size']
  return request


def _meta(model, config):
  """Returns the record of a checkpoint: a run that has read nothing yet."""
  return model.read_meta(STEP) | dict(
    next_sample=0, tokens=0, config=config, imported=dict(family=model.family.name)
  )


@contextlib.contextmanager
def _emptied_on_failure(workdir):
  try:
    yield
  except BaseException:
    for path in (workdir.checkpoints, workdir.tokenizer):
      shutil.rmtree(path, ignore_errors=True)
    for path in (workdir.config, workdir.run):
      path.unlink(missing_ok=True)
    raise
