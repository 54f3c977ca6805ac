"""Bad steps (`program/guard.py`) on the host: counted, recorded, refused when many."""

import collections
import contextlib
import dataclasses
import math
import shlex

import jax.numpy as jnp

from gpt_jax.core.errors import DivergedError, StorageError
from gpt_jax.data.loader import Loader
from gpt_jax.parallel import multihost, sync
from gpt_jax.program import norms
from gpt_jax.program.batches import process_shard, put_batch
from gpt_jax.train import rollback
from gpt_jax.train.session import add_event, write_events
from gpt_jax.workdir import files

HISTORY_STEPS = 256  # of losses in a post-mortem

OVERFLOW = 'parameters that are not finite after the update'


class Monitor:
  """Counts bad steps, records them, and says when the run has to end or roll back."""

  def __init__(self, session, progress):
    self._session, self._progress = session, progress
    self._history = collections.deque(maxlen=HISTORY_STEPS)

  def observe(self, step, metrics):
    """Returns the Spike to roll back from, or None; DivergedError ends the run."""
    loss, grad_norm = float(metrics['loss']), float(metrics['grad_norm'])
    is_bad = bool(metrics['skipped'])
    self._history.append(
      dict(step=step, loss=loss, grad_norm=grad_norm, skipped=is_bad)
    )
    session, progress = self._session, self._progress
    cfg, skips = session.config.guard, progress.skips
    if not is_bad:
      skips.in_a_row = 0
      return None
    skips.skipped += 1
    skips.in_a_row += 1
    is_spike = math.isfinite(grad_norm) and loss > metrics.get('highest_loss', math.inf)
    first, last = progress.rollbacks.samples_of(step)
    event = dict(
      kind='spike' if is_spike else 'not finite', step=step,
      loss=_number(loss), grad_norm=_number(grad_norm),
      first_sample=first, last_sample=last,
    )  # fmt: skip
    if is_spike:
      event['highest_loss'] = float(metrics['highest_loss'])
    session.console.note(
      f'step {step}: {_describe(event)}; no update. Samples {first} to {last}:'
      f' {_replay_command(session, step)}'
    )
    if is_spike and cfg.spikes == 'rollback':
      return rollback.Spike(step, event, list(self._history))
    add_event(session, progress, event)
    if skips.in_a_row >= cfg.max_bad_steps:
      self._end(step, loss, grad_norm, is_spike)
    return None

  def _end(self, step, loss, grad_norm, is_spike):
    """Raises DivergedError and leaves postmortem.json."""
    what = f'train/loss={loss} at step {step}'
    if math.isfinite(loss) and not math.isfinite(grad_norm):
      what = f'train/grad_norm={grad_norm} at step {step}'
    elif math.isfinite(loss) and not is_spike:
      what = f'{OVERFLOW} at step {step}'
    in_a_row = self._progress.skips.in_a_row
    bad = [entry['step'] for entry in self._history if entry['skipped']][-in_a_row:]
    path = write_postmortem(self._session, self._progress, bad, list(self._history))
    raise DivergedError(
      f'{what}: {in_a_row} steps in a row'
      f' (guard.max_bad_steps) made no update; the run has diverged.'
      f' {_advice(path, self._session.config)}'
    )


def roll_back(session, progress, spike):
  """Returns the Rollback that answers `spike`, once it is in run.json; collective."""
  _finish_saves(session)
  cfg, steps = session.config.guard, session.store.steps()
  try:
    taken = rollback.decide(progress.rollbacks, spike, steps, cfg).taken
  except DivergedError as error:
    add_event(session, progress, spike.event)
    path = write_postmortem(session, progress, [spike.step], spike.history)
    raise DivergedError(
      f'{error} {_advice(path, session.config)} guard.rollback_steps,'
      ' guard.rollback_extra_steps and guard.max_rollbacks go back further, skip more,'
      ' and try more often.'
    ) from None
  event = spike.event | dict(kind='rollback') | dataclasses.asdict(taken[-1])
  session.console.note(rollback.describe(event))
  progress.events.append(event)
  sync.raise_on_all(lambda: write_events(session, progress))
  return taken[-1]


def write_postmortem(session, progress, bad_steps, history):
  """Returns the path of postmortem.json; collective, and donates the state.

  It holds `bad_steps` with their samples, the losses of `history`, and norms by layer
  of the last bad step, which is computed once more.
  """
  _finish_saves(session)
  after = int(progress.state.step)
  content = dict(
    step=bad_steps[-1],
    bad_steps=[_bad_step(session, progress, step) for step in bad_steps],
    history=[{k: _number(v) for k, v in entry.items()} for entry in history],
    norms=_norms(session, progress, bad_steps[-1]),
    norms_with_parameters_after_step=after,
    checkpoints=session.store.steps(),
  )
  path = session.workdir.postmortem
  with session.warn_if_unwritable(progress.step, path):
    if multihost.is_primary():
      files.write_json(path, content)
  return path


def _bad_step(session, progress, step):
  first, last = progress.rollbacks.samples_of(step)
  command = _replay_command(session, step)
  return dict(step=step, first_sample=first, last_sample=last, replay=command)


def _norms(session, progress, step):
  """Returns `{kind/name: norm}` of parameters, gradients and updates at `step`."""
  program, state = session.program, progress.state
  first, last = progress.rollbacks.samples_of(step)
  try:
    loader = Loader(session.dataset, **process_shard(program))
    with loader.read([(first, last - first + 1)]) as batches:
      batch = put_batch(program, next(batches))
    # The same step draws the same dropout and the same hidden tokens.
    state = state.replace(step=jnp.full_like(state.step, step - 1))
    _, metrics = program.step_with_norms(state, batch)
    flat = norms.flatten(metrics['norms'])
  except Exception as error:  # a full device, perhaps: what is known must not be lost
    return {'error': f'{type(error).__name__}: {error}'}
  return {name: _number(value) for name, value in flat.items()}


def _finish_saves(session):
  """Waits for the save under way; if it fails, that no longer matters."""
  with contextlib.suppress(StorageError):
    session.store.wait()


def _number(value):
  """Returns `value`, or its name where JSON has none: 'nan', 'inf', '-inf'."""
  return value if math.isfinite(value) else str(value)


def _replay_command(session, step):
  return f'gpt-jax replay --workdir={shlex.quote(str(session.workdir))} --step={step}'


def _advice(path, config):
  clip_norm = config.optimizer.clip_norm
  in_tokens = config.schedule.warmup_tokens is not None
  return (
    f'{path} has the losses before, the norms by layer and how to look at the batches.'
    ' Lower optimizer.learning_rate, '
    + ('lower' if clip_norm else 'set')
    + f' optimizer.clip_norm (now {clip_norm:g}{"" if clip_norm else ", off"}), or'
    f' lengthen schedule.warmup_{"tokens" if in_tokens else "steps"}; then start in a'
    ' new workdir, or resume from the last checkpoint with --allow_changes.'
  )


def _describe(event):
  if event['kind'] == 'spike':
    return f'loss {event["loss"]:.4f} is a spike (above {event["highest_loss"]:.4f})'
  if math.isfinite(float(event['loss'])) and math.isfinite(float(event['grad_norm'])):
    return f'{OVERFLOW} (loss {event["loss"]:.4f})'
  return f'loss {event["loss"]}, gradient norm {event["grad_norm"]}'
