"""A run made smaller by a method of `gpt_jax.compress`: a run of its own."""

import dataclasses
import functools
from typing import Any

import jax

from gpt_jax import peft
from gpt_jax.compress import Given
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.program import new_run, restore, setup
from gpt_jax.program.adapted_checkpoints import open_source
from gpt_jax.program.base import RECORD
from gpt_jax.program.batches import first_microbatches
from gpt_jax.program.observe import make_observe
from gpt_jax.train import score_run, task_end
from gpt_jax.workdir.paths import Workdir

ITEM = 'params'
ALONE = {'model.remat': 'none', 'distill.teacher': ''}
"""Fields of a model that is read and not trained."""
FIRST = {
  'init_from': '',
  'init.transform': 'rules',
  'init.rules': (),
  'init.tokenizer': 'keep',
}
"""Fields that were about the parameters that the run began with."""


@dataclasses.dataclass(frozen=True)
class Made:
  """What `compress` has written."""

  step: int
  bytes_before: int  # of the parameters
  bytes_after: int
  notes: dict[str, Any]


def compress(workdir, out, name, method, options, *, step=None, data=None,
             progress=lambda items, label, total: items):  # fmt: skip
  """Writes the run that a method makes of another into the new workdir `out`.

  Args:
    name, method, options: an entry of compress.METHODS, as `method_flag.parse` has it.
    step: default: the newest, of a task the best one; the moving average where kept.
    data: {dotted field: value} of the data to calibrate with, over the run's own.
  Returns what was Made. `out` has config, tokenizer and one step. Raises ConfigError
  for what cannot be made smaller so, StorageError for an `out` that is not empty.
  """
  workdir, out = Workdir(workdir), Workdir(out)
  new_run.require_new(out)
  config = setup.read_config(workdir)
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with open_source(workdir.path) as store:
    if step is None and config.task.name:
      step = task_end.best_step(store, config.checkpoint.keep_best)
    step = restore.choose_step(store, step)
    item = 'ema' if 'ema' in store.items(step) else ITEM
    params = store.restore(step, {item: store.abstract(step, item, here)})[item]
    meta = store.read_meta(step)
    rows = restore.embedding_rows(store, step)
  model = dataclasses.replace(config.model, vocab_size=rows)
  plain = peft.without_adapter(dataclasses.replace(config, model=model))
  observe = _make_observe(workdir, plain, params, data or {})
  made = method(Given(plain, params, options, observe, progress))
  record = load.to_dict(setup.resolve(load.to_dict(plain), FIRST | dict(made.fields)))
  start = dict(compressed=name, source=str(workdir), options=_as_json(options))
  start |= dict(notes=dict(made.notes))
  meta = {key: value for key, value in meta.items() if key != RECORD}
  new_run.write(
    out,
    step=step,
    items={ITEM: jax.device_put(made.params, here)},
    meta=meta | dict(config=record, compressed=start),
    config=record,
    save_tokenizer=new_run.copied(workdir.tokenizer),
    made_of=start,
  )
  sizes = pytree.size_bytes(params), pytree.size_bytes(made.params)
  return Made(step, *sizes, dict(made.notes))


def _as_json(options):
  return dataclasses.asdict(options)


def _make_observe(workdir, config, params, data):
  """Returns `Given.observe`: data is opened where a method asks for it."""

  def observe(make_intercept, count):
    with_data = setup.resolve(load.to_dict(config), ALONE | data)
    tokenizer = setup.open_tokenizer(with_data, workdir)
    program = setup.make_program(
      with_data, tokenizer, embedding_rows=config.model.vocab_size
    )
    dataset = setup.open_training_data(with_data, tokenizer, workdir)
    placed = jax.tree.map(
      lambda leaf, like: jax.device_put(leaf, like.sharding),
      params,
      program.abstract_state.params,
    )
    open_batches = functools.partial(first_microbatches, program, dataset)
    return make_observe(program, placed, open_batches)(make_intercept, count)

  return observe


def held_out_loss(workdir, step, overrides):
  """Returns (loss of a run's first eval set in nats, '').

  (None, why not) where its data is not here.
  """
  try:
    sets = score_run.score_run(workdir, overrides, step=step).sets
  except (DataError, ConfigError) as error:
    return None, str(error)
  return next(iter(sets.values()), {}).get('loss'), ''
