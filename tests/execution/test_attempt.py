"""What stops a run is an outcome, recorded in its workdir."""

import os

import pytest

from gpt_jax.core.errors import DataError, DivergedError, StorageError
from gpt_jax.execution import attempt
from gpt_jax.sweeps import states
from tests.execution.test_runner import finish
from tests.sweeps import studies


@pytest.mark.parametrize(
  'error, why, code',
  [
    (DivergedError('\nloss is nan\nsecond line'), 'loss is nan', 6),
    (DataError('no data'), 'no data', 3),
    (RuntimeError('a bug'), 'RuntimeError: a bug', 1),
    (AssertionError(), 'AssertionError', 1),
  ],
)
def test_a_failure_is_recorded_with_its_first_line(
  tmp_path, monkeypatch, error, why, code
):
  def fail(config, workdir, **options):
    raise error

  monkeypatch.setattr(attempt.loop, 'train', fail)
  (point,) = studies.study(tmp_path).points
  assert attempt.attempt(point) == attempt.Attempt(states.FAILED, why, code)
  assert states.state_of(point) == states.State(states.FAILED, why)
  record = states.read_failure(point) or {}
  assert record['exit_code'] == code
  assert ('Traceback' in record['text']) == (code == 1)


def test_a_point_that_another_process_has_finished_is_done(tmp_path, monkeypatch):
  (point,) = studies.study(tmp_path).points

  def refused(config, workdir, **options):
    finish(config, workdir)  # by the other process, which has let go of its lock
    raise StorageError('at work there')

  monkeypatch.setattr(attempt.loop, 'train', refused)
  assert attempt.attempt(point) == attempt.Attempt(states.DONE)
  assert states.read_failure(point) is None


def test_the_output_of_a_run_goes_to_its_log(tmp_path, capfd):
  path = tmp_path / 'logs' / 'run.log'
  with attempt.output_to(path):
    os.write(1, b'from a library\n')
  os.write(1, b'afterwards\n')
  assert path.read_text() == 'from a library\n'
  assert capfd.readouterr().out == 'afterwards\n'
