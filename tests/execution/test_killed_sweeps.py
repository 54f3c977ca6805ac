"""Sweeps that are killed, share their points or use workers find the same table."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from gpt_jax.sweeps import pace, points, states
from gpt_jax.workdir import files, provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.sweeps import studies

STEPS, SAVED_EVERY = 60, 10
ROWS = "{'a': {}, 'b': {'model.d_ff': 64}, 'c': {'init_from': FromRow('a')}}"
TOTAL_STEPS = 6 * STEPS
pytestmark = pytest.mark.slow


def write(folder):
  folder.mkdir(exist_ok=True)
  path = studies.write(folder, rows=ROWS, seeds='(0, 1)')
  text = path.read_text().replace("'train.steps': 4", f"'train.steps': {STEPS}")
  saved = f"'checkpoint.every_steps': {SAVED_EVERY}"
  path.write_text(text.replace("'checkpoint.every_steps': 2", saved))
  return path


def start(path, *more):
  """Starts `gpt-jax sweep` as a process group of its own, on one device."""
  words = ['sweep', str(path), f'--workdir={path.parent / "runs"}', *more]
  environment = os.environ | {
    'PYTHONPATH': str(tiny_runs.ROOT),
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': '',
  }
  return subprocess.Popen(
    [sys.executable, '-m', 'gpt_jax', *words],
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )


def finish(process):
  """Returns what a sweep printed; it has to end with every point done."""
  text, _ = process.communicate(timeout=900)
  assert process.returncode == 0, text
  return text


def table(path):
  """Returns `{point: (eval.json, metrics without clocks)}` of a finished study."""
  study = points.open_study(path, workdir=path.parent / 'runs')
  assert all(states.is_done(point) for point in study.points)
  return {
    point.name: (
      files.read_json(Workdir(point.workdir).eval),
      tiny_runs.lines(point.workdir),
    )
    for point in study.points
  }


def starts(path):
  study = points.open_study(path, workdir=path.parent / 'runs')
  return {
    point.name: len(provenance.read_starts(Workdir(point.workdir)))
    for point in study.points
    if states.is_done(point)
  }


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  path = write(tmp_path_factory.mktemp('undisturbed'))
  finish(start(path))
  assert set(starts(path).values()) == {1}
  return table(path)


def steps_done(study):
  return sum(pace.last_logged(point.workdir).step for point in study.points)


def test_a_sweep_killed_five_times_finds_the_same_table(tmp_path, undisturbed):
  path = write(tmp_path)
  study = points.open_study(path, workdir=tmp_path / 'runs')
  rng = random.Random(15)
  done = {}
  for moment in sorted(rng.uniform(0.0, TOTAL_STEPS) for _ in range(5)):
    process = start(path)
    while steps_done(study) < moment and process.poll() is None:
      time.sleep(0.02)
    time.sleep(rng.uniform(0.0, 0.5))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    now = starts(path)
    assert {name: now[name] for name in done} == done  # none has run again
    done = now
  finish(start(path))
  assert {name: starts(path)[name] for name in done} == done
  assert table(path) == undisturbed


@pytest.mark.parametrize('flags', [(), ('--jobs=2',)], ids=['alone', 'with workers'])
def test_two_sweeps_of_a_folder_share_its_points(tmp_path, undisturbed, flags):
  path = write(tmp_path)
  texts = [finish(process) for process in [start(path, *flags), start(path, *flags)]]
  assert set(starts(path).values()) == {1}
  assert all(text.count('done    ') for text in texts)
  assert sum(text.count('done    ') for text in texts) == 6
  found = table(path)
  if not flags:
    assert found == undisturbed
  for name, (scores, _) in found.items():
    expected = undisturbed[name][0]['validation']['loss']
    assert scores['validation']['loss'] == pytest.approx(expected, rel=1e-5)


def test_sigterm_saves_the_points_of_workers(tmp_path, undisturbed):
  path = write(tmp_path)
  study = points.open_study(path, workdir=tmp_path / 'runs')
  process = start(path, '--jobs=2')
  while steps_done(study) < STEPS // 2:
    time.sleep(0.05)
    assert process.poll() is None, process.communicate()
  process.send_signal(signal.SIGTERM)
  text, _ = process.communicate(timeout=300)
  assert process.returncode == 75, text
  assert 'the same command continues there' in text
  assert not any(states.state_of(p).kind == states.RUNNING for p in study.points)
  finish(start(path, '--jobs=2'))
  assert table(path).keys() == undisturbed.keys()
