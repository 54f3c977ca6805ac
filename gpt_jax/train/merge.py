"""A run with an adapter as the plain model that computes the same: a run of its own."""

import dataclasses

import jax

from gpt_jax import peft
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.program import new_run, restore, setup
from gpt_jax.program.adapted_checkpoints import open_source
from gpt_jax.program.base import RECORD
from gpt_jax.train import task_end
from gpt_jax.workdir.paths import Workdir

ITEM = 'params'


def merge(workdir, out, *, step=None):
  """Writes the merged model of a run with `peft.name` into the new workdir `out`.

  Returns the step, by default the newest, of a task the best one. `out` has config
  without adapter, tokenizer and that step; of a run with a moving average that one.
  Raises ConfigError for a run without adapter, CheckpointError where it cannot be
  merged, StorageError for an `out` that is not empty.
  """
  workdir, out = Workdir(workdir), Workdir(out)
  new_run.require_new(out)
  config = setup.read_config(workdir)
  if not config.peft.name:
    raise ConfigError(f'{workdir}: has no adapter (peft.name is empty): it is merged.')
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with open_source(workdir.path) as store:
    if step is None and config.task.name:
      step = task_end.best_step(store, config.checkpoint.keep_best)
    step = restore.choose_step(store, step)
    item = 'ema' if 'ema' in store.items(step) else ITEM
    wanted = {item: store.abstract(step, item, here)}
    params = store.restore(step, wanted)[item]
    meta = store.read_meta(step)
    model = dataclasses.replace(
      config.model, vocab_size=restore.embedding_rows(store, step)
    )
  plain = peft.without_adapter(dataclasses.replace(config, model=model))
  record = load.to_dict(plain)
  meta = {name: value for name, value in meta.items() if name != RECORD}
  new_run.write(
    out,
    step=step,
    items={ITEM: params},
    meta=meta | dict(config=record, merged=str(workdir)),
    config=record,
    save_tokenizer=new_run.copied(workdir.tokenizer),
    made_of=dict(merged=config.peft.name, source=str(workdir)),
  )
  return step
