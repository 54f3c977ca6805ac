"""Searches: which trials there are, how they end, and that kills change nothing."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent import futures

import pytest

from gpt_jax.core.errors import CheckpointError, ConfigError, StorageError
from gpt_jax.search import database, outputs, search, trial_run
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.search.search_experiment import GRID, TEXT, Silent, bowl, open_search, write

optuna = pytest.importorskip('optuna', reason='needs gpt_jax[sweep]')


def table(found):
  """Returns (number, state, values, value) of all trials, by number."""
  listed = sorted(outputs.trials(found), key=lambda one: one['trial'])
  return [(t['trial'], t['state'], t['values'], t['value']) for t in listed]


def test_the_number_of_trials_is_that_of_the_study_in_all(tmp_path):
  search.run(open_search(tmp_path, num_trials=2), Silent(), run_trial=bowl)
  show = Silent()
  found = open_search(tmp_path, num_trials=5)
  search.run(found, show, run_trial=bowl)
  assert show.begun == [2, 3, 4]
  search.run(open_search(tmp_path, num_trials=4), Silent(), run_trial=bowl)
  assert len(table(found)) == 5


def test_a_search_killed_at_any_trial_makes_the_same_trials(tmp_path):
  whole = open_search(tmp_path / 'whole', num_trials=5)
  search.run(whole, Silent(), run_trial=bowl)
  killed = open_search(tmp_path / 'killed', num_trials=5)
  # A new start for each trial: nothing is kept but what the storage has.
  for num_trials in range(1, 6):
    again = open_search(tmp_path / 'killed', num_trials=num_trials)
    search.run(again, Silent(), run_trial=bowl)
  assert table(killed) == table(whole)


def test_a_trial_that_its_process_left_is_taken_up_again(tmp_path):
  class Crash(BaseException):
    pass

  def crash(point, *rest):
    raise Crash

  with pytest.raises(Crash):
    search.run(open_search(tmp_path), Silent(), run_trial=crash)
  show, found = Silent(), open_search(tmp_path, num_trials=2)
  search.run(found, show, run_trial=bowl)
  assert show.taken_up == [0] and show.begun == [1]
  assert [number for number, *_ in table(found)] == [0, 1]


def test_a_death_just_before_the_end_of_a_trial_is_no_result(tmp_path, monkeypatch):
  found = open_search(tmp_path, num_trials=1)

  def die(*args, **told):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(found.study, 'tell', die)
    search.run(found, Silent(), run_trial=bowl)
  assert found.best() is None and table(found)[0][1] == 'running'
  show = Silent()
  search.run(open_search(tmp_path, num_trials=1), show, run_trial=bowl)
  assert show.taken_up == [0] and found.best().number == 0


@pytest.mark.slow
def test_successive_halving_lets_the_best_third_go_on(tmp_path):
  found = open_search(tmp_path, num_trials=20)
  assert found.rungs == (2, 6)
  search.run(found, Silent(), run_trial=bowl)
  states = [state for _, state, _, _ in table(found)]
  assert 1 <= states.count('complete') <= 8 and states.count('pruned') >= 12
  best = min(value for *_, value in table(found))
  assert found.best().value == best


def test_diverged_trials_are_the_worst_and_failed_ones_count(tmp_path):
  kinds = iter([trial_run.DIVERGED, trial_run.FAILED, trial_run.COMPLETE])

  def ends_badly(point, *rest):
    kind = next(kinds)
    return trial_run.Ended(kind, 1.0 if kind == trial_run.COMPLETE else math.nan)

  found = open_search(tmp_path, num_trials=3)
  search.run(found, Silent(), run_trial=ends_badly)
  assert [state for _, state, _, _ in table(found)] == [
    'diverged', 'failed', 'complete',
  ]  # fmt: skip
  assert found.study.trials[0].value == math.inf
  assert found.best().number == 2


def test_three_failures_in_a_row_end_the_search_with_their_error(tmp_path):
  def fails(point, *rest):
    return trial_run.Ended(trial_run.FAILED, error=ConfigError('no such thing'))

  found = open_search(tmp_path, num_trials=9)
  with pytest.raises(ConfigError, match='no such thing'):
    search.run(found, Silent(), run_trial=fails)
  assert len(table(found)) == 3


def test_a_grid_has_each_combination_once(tmp_path):
  found = open_search(tmp_path, GRID, sampler='grid', num_trials=None)
  assert found.num_trials == 6
  search.run(found, Silent(), run_trial=bowl)
  chosen = {tuple(values.values()) for _, _, values, _ in table(found)}
  assert chosen == {(rate, warmup) for rate in (1e-3, 1e-2) for warmup in (0, 1, 2)}


def test_ranges_that_have_changed_are_listed_with_a_way_out(tmp_path):
  search.run(open_search(tmp_path, num_trials=1), Silent(), run_trial=bowl)
  wider = ("'optimizer.learning_rate': Range(1e-5, 1.0, log=True),",)
  with pytest.raises(CheckpointError) as caught:
    open_search(tmp_path, wider)
  text = str(caught.value)
  assert 'search.optimizer.learning_rate: numbers from 0.0001 to 1.0' in text
  assert '-> numbers from 1e-05 to 1.0' in text
  assert 'search.schedule.warmup_steps' in text and '--study=NAME' in text
  open_search(tmp_path, wider, name='wider')  # which is a study of its own


def test_a_storage_that_is_not_there_is_named_without_password(tmp_path):
  url = f'sqlite:///{tmp_path}/no/such/folder/study.db'
  with pytest.raises(StorageError, match='cannot be reached'):
    open_search(tmp_path, storage=url)
  with pytest.raises(StorageError) as caught:
    open_search(tmp_path, storage='postgresql+none://me:secret@host/db')
  assert 'secret' not in str(caught.value) and 'me:***@host/db' in str(caught.value)


def test_a_metric_of_no_evaluation_set_is_a_mistake(tmp_path):
  path = write(tmp_path)
  text = path.read_text().replace("base='base',", "base='base', metric='test/loss',")
  path.write_text(text)
  with pytest.raises(ConfigError, match="rates.py:9: metric='test/loss': no eval"):
    search.open_search(path, workdir=tmp_path, num_trials=1)


def test_processes_that_begin_together_open_one_study(tmp_path):
  url, together = f'sqlite:///{tmp_path}/study.db', threading.Barrier(4)

  def open_study(_):
    together.wait()
    return database.open_study(optuna, url, study_name='rates')

  with futures.ThreadPoolExecutor(4) as pool:
    opened = list(pool.map(open_study, range(4)))
  assert len({one._study_id for one in opened}) == 1


@pytest.mark.slow
def test_two_processes_share_a_study_and_one_is_killed(tmp_path):
  path = write(tmp_path)
  command = [
    sys.executable, '-m', 'gpt_jax', 'sweep', str(path), '--search=random',
    '--trials=8', f'--workdir={tmp_path}/runs', '--json',
  ]  # fmt: skip
  environment = os.environ | {'PYTHONPATH': str(tiny_runs.ROOT)}
  start = [
    subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    for _ in range(2)
  ]
  folder = tmp_path / 'runs' / 'rates' / 'quick' / 'search'
  while len(list(folder.glob('trial_*/config.json'))) < 3:
    time.sleep(0.1)
  start[0].send_signal(signal.SIGKILL)
  try:
    out, _ = start[1].communicate(timeout=900)
  finally:
    start[1].kill()
  start[0].communicate()
  assert start[1].returncode == 0
  found = json.loads(out.splitlines()[-1])
  assert sorted(one['trial'] for one in found['trials']) == list(range(8))
  assert {one['state'] for one in found['trials']} <= {'complete', 'pruned'}
  # No trial began twice from nothing: who takes one up goes on with its workdir.
  for one in found['trials']:
    steps = [start['step'] for start in provenance.read_starts(Workdir(one['workdir']))]
    assert len(steps) <= 2


@pytest.mark.parametrize('seeds, first', [('(3, 4)', 3), ('(), sweep=seeds(5, 6)', 5)])
def test_trials_have_the_first_seed_wherever_seeds_stand(tmp_path, seeds, first):
  text = TEXT.replace('seeds=(3, 4)', f'seeds={seeds}')
  text = text.replace('Range, Size', 'Range, Size, seeds')
  found = open_search(tmp_path, text=text, num_trials=1)
  search.run(found, Silent(), run_trial=bowl)
  assert found.best() is not None
  assert found.point(0, {}).config.seed == first


@pytest.mark.parametrize(
  'metric, told',
  [
    ('loss', "of which evaluation set? did you mean 'validation/loss'?"),
    ('validaton/loss', "did you mean 'validation/loss'?"),
    ('validation/los', "did you mean 'validation/loss'?"),
  ],
)
def test_a_metric_that_no_trial_has_is_told(tmp_path, metric, told):
  text = TEXT.replace("base='base',", f"base='base', metric={metric!r},")
  with pytest.raises(ConfigError, match=re.escape(told)):
    open_search(tmp_path, text=text)


def test_a_folder_that_cannot_be_written_starts_no_study(tmp_path):
  with pytest.raises(StorageError, match='cannot write in /proc'):
    search.open_search(write(tmp_path), workdir='/proc/gpt_jax', num_trials=1)


def test_a_bucket_holds_trials_and_no_database(tmp_path):
  path = write(tmp_path)
  with pytest.raises(ConfigError, match='add --storage=sqlite:///rates.db'):
    search.open_search(path, workdir='gs://bucket/runs', sampler='tpe', num_trials=2)


@pytest.mark.slow
def test_a_search_over_a_bucket_leaves_its_files_there(bucket, tmp_path):
  url, path = bucket[0], write(tmp_path)
  found = search.open_search(
    path, workdir=url, sampler='tpe', num_trials=3,
    storage=f'sqlite:///{tmp_path / "study.db"}',
  )  # fmt: skip
  search.run(found, Silent(), run_trial=bowl)
  paths = outputs.write_all(found)
  names = ['best.py', 'search.png', 'search.svg', 'trials.csv']
  assert sorted(path.name for path in paths) == names
  assert all(path.exists() for path in paths)
  assert f'{url}/rates/quick/search/trial_0000' in str(outputs.trials(found))
