"""Trials of dead processes are taken up, those of living ones are left alone."""

import dataclasses

import pytest

from gpt_jax.search import trial_queue
from gpt_jax.workdir import lock

optuna = pytest.importorskip('optuna', reason='needs gpt_jax[sweep]')

ME = lock.this_process()
DEAD = dataclasses.replace(ME, pid=2**22 + 1, born='1', token='dead')
FAR = dataclasses.replace(ME, host='elsewhere', token='far')


class Clock:
  now = 0.0

  def __call__(self):
    return self.now

  def sleep(self, seconds):
    self.now += seconds


def study_with(owner):
  """Returns a study with one trial at work, of the process `owner`."""
  study = optuna.create_study()
  study.ask().set_user_attr(trial_queue.OWNER, dataclasses.asdict(owner))
  return study


def queue(study, num_trials=1, clock=None):
  clock = clock or Clock()
  return trial_queue.Queue(study, num_trials, clock=clock, sleep=clock.sleep)


def test_a_trial_of_a_dead_process_is_taken_up_under_its_number():
  given, was_taken_up = queue(study_with(DEAD)).next()
  assert given.number == 0 and was_taken_up


def test_a_trial_of_a_living_process_is_left_alone():
  study = study_with(lock.this_process())
  assert queue(study).next() is None
  assert queue(study, num_trials=2).next()[0].number == 1


def test_on_another_machine_a_heartbeat_is_life():
  study, clock = study_with(FAR), Clock()
  here = queue(study, clock=clock)
  far = optuna.Trial(study, study.trials[0]._trial_id)
  for beat in range(4):
    far.set_user_attr(trial_queue.BEAT, beat)
    assert here.next() is None
    clock.now += 0.6 * trial_queue.GRACE_SECONDS
  assert here.next() is None
  clock.now += 0.6 * trial_queue.GRACE_SECONDS
  assert here.next()[0].number == 0  # silent for longer than the grace


def test_of_two_that_take_up_one_trial_the_later_has_it():
  study, clock = study_with(DEAD), Clock()
  first, second = queue(study, clock=clock), queue(study, clock=clock)

  def other_is_quick(seconds):
    clock.now += seconds
    trial = optuna.Trial(study, study.trials[0]._trial_id)
    trial.set_user_attr(trial_queue.OWNER, dataclasses.asdict(second._me))

  first._sleep = other_is_quick
  assert first.next() is None
  second._me = dataclasses.replace(second._me, token='other')
  assert second.next() is None  # and by then it is somebody's at work


def test_a_released_trial_is_free_at_once():
  study = optuna.create_study()
  here = queue(study)
  trial, _ = here.next()
  here.release(trial)
  assert queue(study).next()[0].number == trial.number


def test_a_trial_too_many_is_no_trial_of_the_study(monkeypatch):
  study = optuna.create_study()
  here, ask = queue(study), study.ask

  def ask_while_another_does():
    study.tell(ask(), 1.0)
    return ask()

  monkeypatch.setattr(study, 'ask', ask_while_another_does)
  assert here.next() is None
  assert [one.number for one in trial_queue.trials_in_budget(study)] == [0]


def test_heartbeats_are_counted_while_a_trial_runs(monkeypatch):
  monkeypatch.setattr(trial_queue, 'BEAT_SECONDS', 0.01)
  study = optuna.create_study()
  here = queue(study)
  trial, _ = here.next()
  with here.beating(trial):
    while not study.trials[0].user_attrs.get(trial_queue.BEAT, 0) > 1:
      pass
