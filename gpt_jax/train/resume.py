"""How a run comes back: the config it may have, and how far it is.

A workdir belongs to one config. What may change between starts is listed in
`changeable.py`; any other difference is refused, field by field.
"""

import dataclasses

from gpt_jax.config import load, migrate, options
from gpt_jax.config.diff import ABSENT, diff
from gpt_jax.core.errors import CheckpointError
from gpt_jax.data.pipeline import ADDED_TO_FINGERPRINT
from gpt_jax.program import init_adapter, setup
from gpt_jax.program.horizon import make_horizon
from gpt_jax.train import changes, rate_jump, start
from gpt_jax.train.changeable import CHANGEABLE_FIELDS
from gpt_jax.train.early_stopping import Watched
from gpt_jax.train.rollback import Rollbacks
from gpt_jax.train.session import Progress, SkipCounts, events_up_to
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir

MADE = {
  'averaged': 'the average of several steps',
  'merged': 'an adapter merged into its base',
  'combined': 'a sum of several adapters',
  'compressed': 'a model made smaller',
}
"""In run.json of runs that were not trained -> what they are."""


def refuse_imported(workdir):
  """Raises CheckpointError for a model that was imported, or made of several steps."""
  starts = provenance.read_starts(workdir)
  saved = (Workdir(workdir).read_config() or {}).get('peft', {})
  field = 'peft.init_from' if saved.get('name') else 'init_from'
  for kind, what in MADE.items():
    if any(kind in entry for entry in starts):
      raise CheckpointError(
        f'{workdir}: {what}, which has no optimizer state, and stays as it is. Train it'
        f' in a new workdir, with --config.{field}={workdir} --workdir=NEW.'
      )
  if any('imported' in entry for entry in starts):
    what = 'adapter' if saved.get('name') else 'model'
    raise CheckpointError(
      f'{workdir}: an imported {what}, which has neither data nor an optimizer of its'
      ' own, and stays as it is. Train it in a new workdir: gpt-jax train'
      f' --config={workdir} --config.{field}={workdir} --workdir=NEW, with'
      ' --config.data.source and the like.'
    )


def same_run(saved, config, workdir, allow_changes=False):
  """Returns `config` with the embedding rows of `saved`, the config of a checkpoint.

  Raises CheckpointError listing the fields in which `config` is another run.
  """
  saved = migrate.read_saved(saved, workdir)
  options.fill_absent(saved, config)
  config = _with_saved_rows(saved, config)
  found = differences(saved, config)
  if fixed := _of_the_adapter(found):
    raise CheckpointError(
      f'{workdir} was trained with another adapter:\n'
      + _listed(fixed)
      + '\nIts checkpoints hold that one alone, and --allow_changes does not help.'
      ' Restore the old values, or train the new one in a new --workdir.'
    )
  if found and not allow_changes:
    raise CheckpointError(
      f'{workdir} was trained with another config:\n'
      + _listed(found)
      + '\nUse a new --workdir, restore the old values, or pass --allow_changes to'
      ' resume with the new ones from the last checkpoint.'
      + _how_to_train_on(found, workdir)
    )
  return config


def _of_the_adapter(found):
  """Returns those of `differences` that make another adapter, in short."""
  free = ('peft.base_storage', *(f'peft.options.{name}' for name in init_adapter.FREE))
  rows = [row for row in found if row[0].startswith('peft.') and row[0] not in free]
  # Options of another method say nothing more.
  return [row for row in rows if row[0] == 'peft.name'] or rows


def _how_to_train_on(found, workdir):
  """Returns the other way out where the base is stored otherwise, or ''."""
  if not any(field == 'peft.base_storage' for field, *_ in found):
    return ''
  return (
    f' To begin anew with its adapter: --config.peft.init_from={workdir} and a new'
    ' --workdir.'
  )


def differences(saved, config):
  """Returns [(field, old, new)] of what matters between saved dict and Config."""
  found = [
    (field, old, new)
    for field, old, new in diff(saved, load.to_dict(config))
    if not any(
      field == name or field.startswith(name + '.') for name in CHANGEABLE_FIELDS
    )
  ]
  if found and {field for field, *_ in found} <= rate_jump.DECAY_FIELDS:
    # What schedule.decay_* leaves out, it may say later: the old end of the run.
    return [] if rate_jump.keeps_decay(saved, config) else found
  return found


def _with_saved_rows(saved, config):
  """Returns `config` with `model.vocab_size` as saved, where that is large enough."""
  # Rows that pad the embedding change no number; the tokenizer is compared apart.
  rows = saved['model']['vocab_size']
  if (config.model.vocab_size or 0) > rows:
    return config
  model = dataclasses.replace(config.model, vocab_size=rows)
  return dataclasses.replace(config, model=model)


def other_bound(saved, config):
  """Returns notes on evaluations that do not compare with those of the checkpoint."""
  old, new = saved['eval']['max_batches'], config.eval.max_batches
  if old == new:
    return []
  return [
    f'WARNING: eval.max_batches={new}: evaluations until now were of {old} (0: all'
    ' batches), and best steps are chosen among both; keep them comparable with'
    f' --config.eval.max_batches={old}'
  ]


def with_changes(saved, config, step, events):
  """Returns (events, notes) of a run that goes on with `config` from `step` on.

  `saved` is the config of the checkpoint there, `events` are those up to it. `same_run`
  has allowed the differences, among which may be some that change no number.
  """
  notes = []
  saved = migrate.read_saved(saved, 'the checkpoint')
  if not diff(saved, load.to_dict(config)):
    return events, notes
  old, past = setup.resolve(saved, must_import=False), changes.past_of(events)
  if changed := differences(saved, config):
    events, notes = changes.record(events, step, changed, old, config)
  before = make_horizon(old.train, old.data.seq_len, past)
  after = make_horizon(config.train, config.data.seq_len, changes.past_of(events))
  note = rate_jump.describe(old, before, config, after, step)
  return events, [*notes, note] if note else notes


def check_same_data(meta, fingerprints, workdir, allow_changes=False):
  """Returns notes on what differs from the tokenizer and data of the checkpoint.

  Raises CheckpointError instead unless `allow_changes`.
  """
  found = [
    (field, old, new)
    for field, old, new in diff(meta['fingerprints'], fingerprints)
    if old != ABSENT or field.rpartition('.')[2] not in ADDED_TO_FINGERPRINT
  ]
  if found and not allow_changes:
    raise CheckpointError(
      f'{workdir}: its checkpoint was trained on other data:\n'
      + _listed(found)
      + '\nBring the old data back, use a new --workdir, or pass --allow_changes.'
    )
  if not found:
    return []
  fields = ', '.join(field for field, *_ in found)
  return [
    f'other data ({fields}): the numbers of samples go on, what they stand for not'
  ]


def restore_progress(program, store, events, dataset=None):
  """Returns (Progress, Origin of its state), by the `events` of run.json.

  `dataset`: as in `start.starting_state`.
  """
  rollbacks = Rollbacks.read(program.horizon, events)
  changes.require_present(store.latest_valid_step() or 0, program.horizon)
  delete_abandoned_checkpoints(store, rollbacks)
  step = store.latest_valid_step()  # rolled back to a damaged one, perhaps
  state, origin = start.starting_state(program, store, step, dataset)
  step = step or 0
  meta = store.read_meta(step) if step else {}
  return Progress(
    held=state,
    step=step,
    scores=store.read_metrics(step) if step else {},
    scored_step=step,
    rollbacks=rollbacks,
    skips=SkipCounts(**meta.get('tally', {})),
    watched=Watched(**meta.get('early_stopping', {})),
    events=events_up_to(step, events),
    base=origin.base,
  ), origin


def delete_abandoned_checkpoints(store, rollbacks):
  """Deletes checkpoints trained on what a rollback skips; quarantines damaged ones."""
  for step in store.steps():
    if not store.has_valid_record(step):
      continue
    if not rollbacks.is_on_branch(step, store.read_meta(step).get('detours', [])):
      store.delete(step)


def _listed(rows):
  return '\n'.join(f'  {field}: {old!r} -> {new!r}' for field, old, new in rows)
