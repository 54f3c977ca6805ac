"""A run that goes on with another config: where it is, and what it was before.

Each such resume (--allow_changes) is an event 'changes' in run.json: its step, fields
with old and new value, and, once batches have changed, the stages before. Positions
follow from the last one, and the config of any earlier step from all of them.
"""

import copy
import dataclasses

from gpt_jax.config.diff import ABSENT
from gpt_jax.core.errors import CheckpointError
from gpt_jax.program.horizon import START, BatchStage, Past, make_horizon
from gpt_jax.train.rollback import Rollbacks

KIND = 'changes'
BATCH_FIELDS = (
  'train.batch_size', 'train.ramp_start_batch_size', 'train.ramp_tokens',
  'data.seq_len',
)  # fmt: skip
"""Fields that decide how many samples and tokens a step consumes."""


def past_of(events):
  """Returns the Past by the newest of the `events` of run.json that has one."""
  for event in reversed(events):
    if event['kind'] == KIND and event['past']:
      stages = tuple(BatchStage(**stage) for stage in event['past']['stages'])
      return Past(**event['past'] | dict(stages=stages))
  return START


def record(events, step, changed, old, new):
  """Returns (`events` with this resume, notes for the screen).

  Args:
    step: from which on `new` holds.
    changed: [(field, old value, new value)], not empty.
    old, new: Configs.
  """
  # One at this very step has made no checkpoint: it is as if it had not been.
  kept = [e for e in events if e['kind'] != KIND or e['step'] < step]
  past, notes = past_of(kept), []
  fields = [list(change) for change in changed]
  if any(field in BATCH_FIELDS for field, *_ in changed):
    horizon = make_horizon(old.train, old.data.seq_len, past)
    read = Rollbacks.read(horizon, kept).first_sample(step)
    past = horizon.past_at(step)
    notes = [_continuing(step, read, past)]
    if new.data.seq_len != old.data.seq_len:
      sample = read * old.data.seq_len // new.data.seq_len
      notes = [_in_other_rows(new.data.seq_len, sample, read, past)]
      # What rollbacks have skipped is added to the arithmetic of the horizon.
      past = dataclasses.replace(past, sample=sample - (read - past.sample))
  saved = None if past == START else dataclasses.asdict(past)
  event = dict(kind=KIND, step=step, fields=fields, past=saved)
  return [*kept, event], notes


def _continuing(step, read, past):
  return (
    f'other batches after step {step}: they begin with sample {read:,}, where the old'
    f' ones end, and count tokens from {past.token:,} on'
  )


def _in_other_rows(seq_len, sample, read, past):
  return (
    f'data.seq_len={seq_len}: rows of another length are other samples. The run goes on'
    f' with number {sample:,} of them, as many tokens on as the {read:,} rows that were'
    ' read, but text is cut and shuffled anew: in this epoch some comes twice and some'
    f' does not come. Tokens are counted from {past.token:,} on'
  )


def require_present(step, horizon):
  """Raises CheckpointError where `step` lies before the change of batches."""
  if step < horizon.first_step:
    raise CheckpointError(
      f'the newest valid checkpoint is that of step {step}, and batches have changed at'
      f' step {horizon.first_step}; start again with --allow_changes, to change them'
      f' at step {step} instead.'
    )


def config_at(values, events, step):
  """Returns what of the saved config `values` held when `step`, from 1, was made."""
  values = copy.deepcopy(values)
  for event in reversed([e for e in events if e['kind'] == KIND]):
    if step <= event['step']:
      for field, old, _ in event['fields']:
        _put(values, field.split('.'), old)
  return values


def _put(values, path, value):
  *parents, name = path
  for part in parents:
    values = values.setdefault(part, {})
  if value == ABSENT:
    values.pop(name, None)
  else:
    values[name] = value
