"""Who works on which trial: new ones, and those of processes that have died.

Trials live in the storage. One at work names its process and counts up a heartbeat;
without evidence that its process has ended, nobody else touches it. A dead one is taken
up again as it is: same number, same values, same workdir, from its last checkpoint.
"""

import contextlib
import dataclasses
import threading
import time

from gpt_jax.search.space import import_optuna
from gpt_jax.workdir import lock

OWNER, BEAT, SURPLUS = 'process', 'heartbeat', 'surplus'  # attributes of a trial
BEAT_SECONDS = 10.0
GRACE_SECONDS = 90.0  # without a heartbeat, a process that cannot be looked at is dead
CLAIM_SECONDS = 1.0  # for two that take up the same trial to see each other


class Queue:
  """Gives trials of `study` to this process, until there are `num_trials` in all."""

  def __init__(
    self, study, num_trials, *, clock=time.monotonic, sleep=time.sleep, me=None
  ):
    self._study, self._num_trials = study, num_trials
    self._clock, self._sleep = clock, sleep
    self._me = me or lock.this_process()
    self._seen = {}  # trial number -> (heartbeat, when it was first seen)

  def next(self):
    """Returns (trial, whether it was taken up), or None when all are given away."""
    for frozen in self.running():
      if self._is_dead(frozen) and (trial := self._take_up(frozen)):
        return trial, True
    if len(trials_in_budget(self._study)) >= self._num_trials:
      return None
    trial = self._study.ask()
    before = [one for one in trials_in_budget(self._study) if one.number < trial.number]
    if len(before) >= self._num_trials:  # another process was quicker
      trial.set_user_attr(SURPLUS, True)
      self._study.tell(trial, state=import_optuna().trial.TrialState.FAIL)
      return None
    trial.set_user_attr(OWNER, dataclasses.asdict(self._me))
    return trial, False

  def running(self):
    """Returns the trials at work, also those whose process has died."""
    state = import_optuna().trial.TrialState
    return self._study.get_trials(deepcopy=False, states=(state.RUNNING,))

  @contextlib.contextmanager
  def beating(self, trial):
    """Counts up the heartbeat of `trial` while the block runs."""
    ended = threading.Event()

    def beat():
      count = trial.user_attrs.get(BEAT, 0)
      while not ended.wait(BEAT_SECONDS):
        count += 1
        with contextlib.suppress(Exception):  # the training notices it as well
          trial.set_user_attr(BEAT, count)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
      yield
    finally:
      ended.set()
      thread.join()

  def release(self, trial):
    """Says that this process has left `trial`, for another to take it up at once."""
    with contextlib.suppress(Exception):  # else its process has ended, which will do
      trial.set_user_attr(OWNER, None)

  def give_back(self, trial, owner):
    """Puts `owner` back, which is at work on a trial that was taken up."""
    trial.set_user_attr(OWNER, dataclasses.asdict(owner))

  def _is_dead(self, frozen):
    if OWNER in frozen.user_attrs and frozen.user_attrs[OWNER] is None:
      return True
    owner = _owner(frozen)
    if owner and owner.has_ended(self._me):
      return True
    if owner and _place(owner) == _place(self._me):
      return False
    # On another machine, whose clock may be any: alive while its heartbeat changes.
    beat = owner and owner.token, frozen.user_attrs.get(BEAT, 0)
    now = self._clock()
    known, since = self._seen.setdefault(frozen.number, (beat, now))
    if known != beat:
      self._seen[frozen.number] = (beat, now)
      return False
    return now - since > GRACE_SECONDS

  def _take_up(self, frozen):
    """Returns the trial under this process's name, None where another was quicker."""
    before = self._again(frozen)
    if before is None or _owner(before) != _owner(frozen):
      return None
    # Optuna has no other way to go on with a trial than by this number of the storage.
    trial = import_optuna().Trial(self._study, frozen._trial_id)
    trial.set_user_attr(OWNER, dataclasses.asdict(self._me))
    # Storages have no compare-and-set: of two that write, the later one has it.
    self._sleep(CLAIM_SECONDS)
    after = self._again(frozen)
    return trial if after and _owner(after) == self._me else None

  def _again(self, frozen):
    same = (one for one in self.running() if one.number == frozen.number)
    return next(same, None)


def trials_in_budget(study):
  """Returns the trials of `study`, those aside that two processes asked for at once."""
  trials = study.get_trials(deepcopy=False)
  return [one for one in trials if not one.user_attrs.get(SURPLUS)]


def _owner(frozen):
  try:
    return lock.Owner(**frozen.user_attrs[OWNER])
  except (KeyError, TypeError):
    return None


def _place(owner):
  return owner.host, owner.boot, owner.space
