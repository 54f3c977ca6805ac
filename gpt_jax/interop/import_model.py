"""A pretrained model of others as a run of ours, at step 0."""

import contextlib
import datetime
import shutil

import jax

from gpt_jax.checkpoints.manager import Checkpoints
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import StorageError
from gpt_jax.interop.reader import STEP
from gpt_jax.workdir import provenance


def import_model(model, workdir):
  """Writes the parameters of a ModelReader, its config and tokenizer into a Workdir.

  Returns how many parameters there are. Raises StorageError for a folder that has a
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
  """Returns how many parameters there are, all of them written."""
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = {'params': model.abstract(STEP, 'params', here)}
  items = model.restore(STEP, wanted)
  config = load.to_dict(model.config)
  model.tokenizer.save(workdir.tokenizer, _request(config))
  with Checkpoints(
    workdir.checkpoints, keep_last=1, keep_best=0, best_metric='', asynchronous=False,
    lock=lock,
  ) as store:  # fmt: skip
    store.save(STEP, items, _meta(model, config))
  workdir.write_config(config)
  now = datetime.datetime.now(datetime.UTC)
  source = dict(imported=str(model.directory), family=model.family.name)
  provenance.add_start(workdir, provenance.collect(now=now) | {'step': STEP} | source)
  return pytree.count(items['params'])


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
