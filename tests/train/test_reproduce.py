"""The first steps of a run again: verdicts, what is refused, and the real thing."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import pytest

from gpt_jax.core import errors
from gpt_jax.train import reproduce, run_diff
from gpt_jax.workdir import provenance
from tests import tiny_runs
from tests.train.test_run_diff import start, write_run

LOSSES = [3.0 - step / 100 for step in range(30)]


@pytest.fixture
def again(monkeypatch):
  """Returns a function: what the process of the training writes, instead of one."""

  def plan(losses=(), entry=None, exit_code=None, says=''):
    class Process:
      def poll(self):
        return exit_code

    @contextlib.contextmanager
    def process(code, fresh, output):
      output.write(says.encode())
      output.flush()
      lines = [
        json.dumps({'step': step, 'train/loss': loss}) + '\n'
        for step, loss in enumerate(losses, start=1)
      ]
      if lines:
        fresh.metrics.write_text(''.join(lines))
      if entry:
        fresh.run.write_text(json.dumps(dict(starts=[entry], events=[])))
      yield Process()

    monkeypatch.setattr(reproduce, '_process', process)

  return plan


def reproduced(run, **options):
  return reproduce.reproduce(run, commit='here', **options)


def test_equal_losses_are_reproduced_in_every_bit(again, tmp_path):
  run = write_run(tmp_path / 'run', LOSSES)
  again(LOSSES, start())
  found = reproduced(run)
  assert found.verdict == 'bitwise' and found.differences == []
  assert len(found.comparison.steps) == reproduce.RECORDS
  assert json.loads(json.dumps(found.to_dict()))['steps'][-1] == reproduce.RECORDS
  assert not found.again.workdir.path.exists()


@pytest.mark.parametrize(
  'shift, verdict', [(3e-6, 'within tolerance'), (3e-3, 'not reproduced')]
)
def test_a_planted_change_is_found_at_its_step(shift, verdict, again, tmp_path):
  run = write_run(tmp_path / 'run', LOSSES)
  again([loss + shift * (step >= 7) for step, loss in enumerate(LOSSES)], start())
  found = reproduced(run, steps=10)
  assert found.verdict == verdict
  assert found.comparison.parts_at[0].step == 8
  assert found.comparison.steps == tuple(range(1, 11))


def test_another_environment_is_told_and_other_devices_relax(again, tmp_path):
  run = write_run(tmp_path / 'run', LOSSES)
  devices = dict(platform='gpu', kind='NVIDIA H200', count=1)
  again(
    [loss * 1.0005 for loss in LOSSES], start(versions={'jax': '2'}, devices=devices)
  )
  found = reproduced(run)
  assert ('versions.jax', '1', '2') in found.differences
  assert found.verdict == 'within tolerance'
  assert any('now on NVIDIA H200' in note for note in found.notes)


def test_other_data_are_refused(again, tmp_path):
  run = write_run(tmp_path / 'run', LOSSES)
  again(LOSSES, start(data={'tokenizer': 't', 'data': {'seed': 3}}))
  with pytest.raises(errors.DataError, match='data.seed: 0 -> 3'):
    reproduced(run)


@pytest.mark.parametrize(
  'code, kind', [(3, errors.DataError), (2, errors.ConfigError), (-9, errors.UserError)]
)
def test_a_training_that_fails_gives_its_own_error(code, kind, again, tmp_path):
  run = write_run(tmp_path / 'run', LOSSES)
  again(exit_code=code, says='first\nno such file: words.txt')
  with pytest.raises(kind, match='no such file: words.txt'):
    reproduced(run)


def test_a_slow_run_is_compared_as_far_as_it_came(again, tmp_path, monkeypatch):
  monkeypatch.setattr(reproduce, 'SECONDS', 0.0)
  run = write_run(tmp_path / 'run', LOSSES)
  again(LOSSES[:3], start())
  found = reproduced(run)
  assert found.verdict == 'bitwise' and len(found.comparison.steps) == 3
  assert 'compared up to step 3 of 20 in the time' in found.notes


def test_a_run_that_went_on_otherwise_is_compared_up_to_there(again, tmp_path):
  folder = write_run(tmp_path / 'run', LOSSES, **{'optimizer.learning_rate': 0.5})
  event = dict(
    kind='changes', step=4, past=None, fields=[['optimizer.learning_rate', 0.25, 0.5]]
  )
  (folder / 'run.json').write_text(json.dumps(dict(starts=[start()], events=[event])))
  run = run_diff.read(folder)
  assert reproduce.last_step(run)[0] == 4
  assert reproduce.first_config(run)['optimizer']['learning_rate'] == 0.25
  with pytest.raises(errors.ConfigError, match='from 1 to 4'):
    reproduce.last_step(run, 9)


@pytest.mark.parametrize(
  'later, told',
  [
    (dict(git=dict(commit='b' * 40, dirty=False, patch='', untracked=[])), 'commit (b'),
    (dict(versions={'jax': '2'}), 'versions.jax (2)'),
    (dict(devices=dict(platform='gpu', kind='H200', count=1)), 'devices.kind (H200)'),
  ],
)
def test_steps_after_a_restart_by_others_are_not_compared(later, told, tmp_path):
  folder = write_run(tmp_path / 'run', LOSSES)
  same = start(step=5)
  entries = [start(), same, start(step=12, **later)]
  (folder / 'run.json').write_text(json.dumps(dict(starts=entries, events=[])))
  last, (note,) = reproduce.last_step(run_diff.read(folder))
  assert last == 12
  assert f'{told}' in note and 'after step 12: up to there' in note


def test_the_code_is_that_of_the_last_start_from_step_0(tmp_path):
  folder = write_run(tmp_path / 'run', LOSSES)
  state = dict(commit='b' * 40, dirty=False, patch='', untracked=[])
  entries = [start(), start(git=state)]  # killed before anything was saved
  (folder / 'run.json').write_text(json.dumps(dict(starts=entries, events=[])))
  run = run_diff.read(folder)
  assert reproduce.last_step(run) == (20, [])
  assert run.first_start['git'] == state


def test_what_changes_no_number_is_switched_off(tmp_path):
  quiet = run_diff.read(write_run(tmp_path / 'one', LOSSES))
  assert reproduce.first_config(quiet)['checkpoint']['every_steps'] == 0
  assert reproduce.first_config(quiet)['train']['steps'] == 6
  spikes = {'guard.spikes': 'rollback', 'eval.every_steps': 2}
  returns = run_diff.read(write_run(tmp_path / 'two', LOSSES, **spikes))
  config = reproduce.first_config(returns)
  assert config['eval']['every_steps'] == 0
  assert config['checkpoint']['every_steps'] == 3  # what a rollback returns to
  assert reproduce.last_step(quiet, 25) == (25, [])


def test_what_cannot_be_trained_again_is_refused_at_once(tmp_path):
  run = write_run(tmp_path / 'run', LOSSES)
  with pytest.raises(errors.ConfigError, match='from 1 to 30'):
    reproduced(run, steps=31)
  with pytest.raises(errors.StorageError, match='holds a run; give a new folder'):
    reproduced(run, workdir=str(run))
  empty = write_run(tmp_path / 'empty', [])
  with pytest.raises(errors.CheckpointError, match='nothing to compare'):
    reproduced(empty)
  child = write_run(tmp_path / 'child', LOSSES, init_from=str(tmp_path / 'gone'))
  with pytest.raises(errors.CheckpointError, match='is not there'):
    reproduced(child)
  (run / 'config.json').unlink()
  with pytest.raises(errors.CheckpointError, match='without it no run starts'):
    reproduced(run)


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
  """Returns a clone of this repository, with a function that runs its commands."""
  root = tmp_path_factory.mktemp('clone') / 'code'
  if not (tiny_runs.ROOT / '.git').exists() or not shutil.which('git'):
    pytest.skip('needs the git repository of this code')
  for command in (
    ['git', 'clone', '-q', str(tiny_runs.ROOT), str(root)],
    ['git', '-C', str(root), 'config', 'user.name', 'A'],
    ['git', '-C', str(root), 'config', 'user.email', 'a@b.c'],
  ):
    subprocess.run(command, check=True, capture_output=True)

  def gpt_jax(*arguments):
    environment = os.environ | {'PYTHONPATH': str(root), 'PYTHONSAFEPATH': '1'}
    command = [sys.executable, '-m', 'gpt_jax', *arguments]
    return subprocess.run(
      command, env=environment, cwd=root, capture_output=True, text=True, timeout=600
    )

  return root, gpt_jax


@pytest.mark.slow
def test_a_run_is_reproduced_by_its_code_and_not_by_another(clone, tmp_path):
  root, gpt_jax = clone
  initializers = root / 'gpt_jax' / 'model' / 'initializers.py'
  initializers.write_text(initializers.read_text() + '\n# A change of no effect.\n')
  run = str(tmp_path / 'run')
  done = gpt_jax('train', *tiny_runs.flags(), f'--workdir={run}')
  assert done.returncode == 0, done.stderr
  assert provenance.git_state(root)['dirty']

  here = gpt_jax('repro', run, '--json')
  assert here.returncode == 0, here.stderr
  assert json.loads(here.stdout.splitlines()[-1])['verdict'] == 'bitwise'
  assert 'the same code, as it is here' in here.stdout

  planted = root / 'gpt_jax' / 'optimizers' / 'schedules.py'
  planted.write_text(
    planted.read_text()
    + '\n_usual = make_schedule\n\n\ndef make_schedule(*args, **kwargs):\n'
    '  schedule = _usual(*args, **kwargs)\n'
    '  return lambda step: schedule(step) * (1 + 0.5 * (step >= 3))\n'
  )
  subprocess.run(['git', '-C', root, 'commit', '-qam', 'another rate'], check=True)

  apart = gpt_jax('repro', run, '--json')
  assert apart.returncode == 0, apart.stderr
  found = json.loads(apart.stdout.splitlines()[-1])
  assert found['verdict'] == 'bitwise' and 'checked out' in found['code']

  changed = gpt_jax('repro', run, '--commit=here', '--json')
  assert changed.returncode == 7, changed.stderr
  found = json.loads(changed.stdout.splitlines()[-1])
  assert found['parts_at'][0]['step'] == 4
  worktrees = subprocess.run(
    ['git', '-C', root, 'worktree', 'list'], capture_output=True, text=True
  )
  assert len(worktrees.stdout.splitlines()) == 1
