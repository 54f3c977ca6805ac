"""`gpt-jax checkpoint` tells what is saved, and whether it is still what was saved."""

import json
import shutil

import pytest

from gpt_jax import cli
from gpt_jax.workdir import files as storage
from tests.checkpoints.states import open_all
from tests.faults import flips


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('runs') / 'run'
  with open_all(folder / 'checkpoints') as store:
    for step in flips.STEPS:
      metrics = {'validation/loss': 5.0 - step % 3}
      store.save(step, flips.arrays(step), {'next_sample': step}, metrics)
  keeping = dict(best_metric='validation/loss', keep_best=1, keep_last=9)
  storage.write_json(folder / 'config.json', {'checkpoint': keeping})
  return folder


@pytest.fixture
def damaged(workdir, tmp_path):
  run = shutil.copytree(workdir, tmp_path / 'run')
  flips.flip_parameter(run / 'checkpoints' / '3')
  return run


def call(capsys, *words):
  code = cli.main(['checkpoint', *words])
  out, err = capsys.readouterr()
  return code, out, err


def test_ls_shows_why_each_step_is_kept(workdir, capsys):
  code, out, _ = call(capsys, 'ls', f'--workdir={workdir}', '--json')
  assert code == 0
  rows = json.loads(out.splitlines()[-1])
  assert [(row['step'], row['kept'], row['state']) for row in rows] == [
    (1, 'one of the last', 'all there'),
    (2, 'best validation/loss', 'all there'),
    (3, 'newest', 'all there'),
  ]
  assert rows[1]['metrics'] == {'validation/loss': 3.0} and '3.0000' in out
  folder = workdir / 'checkpoints' / '1'
  files = flips.files_of(folder)
  assert rows[0]['bytes'] == sum(path.stat().st_size for path in files)


def test_ls_shows_missing_files_and_quarantined_steps(damaged, capsys):
  (damaged / 'checkpoints' / '2' / 'meta' / 'metadata').unlink()
  (damaged / 'checkpoints' / '3').rename(damaged / 'checkpoints' / '3.damaged')
  code, out, _ = call(capsys, 'ls', f'--workdir={damaged}', '--json')
  assert code == 0
  rows = {row['step']: row for row in json.loads(out.splitlines()[-1])}
  assert rows[2]['state'].startswith('damaged: meta/metadata: ')
  assert rows['3.damaged']['kept'] == 'quarantined: damaged'


def test_ls_knows_that_higher_may_be_better(workdir, tmp_path, capsys):
  run = shutil.copytree(workdir, tmp_path / 'run')
  keeping = dict(best_metric='validation/loss', keep_best=1, best_mode='max')
  storage.write_json(run / 'config.json', {'checkpoint': keeping})
  _, out, _ = call(capsys, 'ls', f'--workdir={run}', '--json')
  kept = [row['kept'] for row in json.loads(out.splitlines()[-1])]
  assert kept == ['one of the last', 'one of the last', 'newest, best validation/loss']


def test_verify_compares_every_step_and_changes_nothing(workdir, capsys):
  before = {p: p.stat().st_mtime_ns for p in workdir.rglob('*')}
  code, out, _ = call(capsys, 'verify', f'--workdir={workdir}', '--json')
  assert code == 0 and 'step 3 is valid' in out
  assert json.loads(out.splitlines()[-1]) == {'1': None, '2': None, '3': None}
  assert {p: p.stat().st_mtime_ns for p in workdir.rglob('*')} == before


def test_verify_names_file_and_array_and_exits_with_4(damaged, capsys):
  code, out, err = call(capsys, 'verify', f'--workdir={damaged}')
  assert code == 4
  assert '3 is damaged' in out and '(params/' in out and 'step 2 is valid' in out
  assert '1 of 3 steps are damaged: [3]' in err and 'Traceback' not in err
  code, out, _ = call(capsys, 'verify', f'--workdir={damaged}', '--step=2')
  assert code == 0 and 'step 3' not in out


def test_show_lists_arrays_with_their_statistics(workdir, capsys):
  arguments = ('show', f'--workdir={workdir}', '--step=2', '--statistics', '--json')
  code, out, _ = call(capsys, *arguments)
  assert code == 0
  found = json.loads(out.splitlines()[-1])
  arrays = {row['array']: row for row in found['arrays']}
  embed = arrays['params/embed']
  assert (embed['dtype'], embed['shape'], embed['bytes']) == ('float32', [64, 32], 8192)
  wanted = flips.np.asarray(flips.arrays(2)['params']['embed'])
  assert embed['mean'] == pytest.approx(wanted.mean(), abs=1e-6)
  assert embed['std'] == pytest.approx(wanted.std(), abs=1e-6)
  assert arrays['params/block/kernel']['dtype'] == 'bfloat16'
  assert arrays['train/step']['mean'] == 2.0
  code, out, _ = call(capsys, 'show', f'--workdir={workdir}')
  assert code == 0 and 'step 3' in out and 'mean' not in out


@pytest.mark.parametrize(
  'words, match',
  [
    (['ls', '--workdir=nowhere'], 'no such folder'),
    (['verify', '--workdir={}', '--step=7'], 'no checkpoint of step 7'),
    (['show', '--workdir={}', '--step=7'], r'it holds steps [1, 2, 3]'),
  ],
)
def test_a_missing_step_or_folder_is_named(workdir, capsys, words, match):
  code, _, err = call(capsys, *(word.format(workdir) for word in words))
  assert code == 4 and match in err


def test_average_names_the_new_workdir_and_its_steps(finished_run, tmp_path, capsys):
  words = ['average', f'--workdir={finished_run}', f'--out={tmp_path / "mean"}']
  code, out, _ = call(capsys, *words, '--last=2', '--json')
  assert code == 0
  assert json.loads(out.splitlines()[-1])['steps'] == [3, 6]
  assert f'next: gpt-jax eval --workdir={tmp_path / "mean"}' in out
  assert 'of the raw parameters of steps 3, 6, not of their EMA' in out
  assert cli.main(['eval', f'--workdir={tmp_path / "mean"}', '--json']) == 0


def test_average_needs_a_new_workdir_and_steps(workdir, capsys):
  code, _, err = call(capsys, 'average', f'--workdir={workdir}', '--last=2')
  assert code == 2 and '--out is missing' in err
  words = ['average', f'--workdir={workdir}', '--out=x']
  code, _, err = call(capsys, *words, '--steps=a')
  assert code == 2 and '10,20,30' in err
