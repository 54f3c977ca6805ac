"""In what two runs differ: tiny runs that part at a known step, and damaged folders."""

import json
import zipfile

import pytest

from gpt_jax.core.errors import CheckpointError
from gpt_jax.train import run_diff
from gpt_jax.workdir import lock
from tests import tiny_runs
from tests.train.test_first_edition import SAVED


def start(**changes):
  """Returns a start as in run.json."""
  usual = dict(
    time='2026-01-02T03:04:05+00:00', step=0, python='3.11.7', versions={'jax': '1'},
    git=dict(commit='a' * 40, dirty=False, patch='', untracked=[]),
    devices=dict(platform='cpu', kind='cpu', count=1), processes=1, hostname='h',
    system='Linux', mesh={'data': 1}, data={'tokenizer': 't', 'data': {'seed': 0}},
  )  # fmt: skip
  return usual | changes


def write_run(folder, losses, starts=None, **overrides):
  """Writes the folder of a run with these losses, as training would have left it."""
  from gpt_jax.config import load

  folder.mkdir()
  config = load.to_dict(tiny_runs.tiny_config(overrides))
  (folder / 'config.json').write_text(json.dumps(config))
  run = dict(starts=starts or [start()], events=[])
  (folder / 'run.json').write_text(json.dumps(run))
  (folder / 'metrics.jsonl').write_text(
    ''.join(
      json.dumps({'step': step, 'train/loss': loss}) + '\n'
      for step, loss in enumerate(losses, start=1)
    )
  )
  (folder / 'eval.json').write_text(
    json.dumps({'step': 9, 'validation': {'loss': 1.0}})
  )
  return folder


def test_a_run_equals_itself_in_everything(tmp_path):
  run = run_diff.read(write_run(tmp_path / 'one', [3.0, 2.0]))
  found = run_diff.compare(run, run)
  assert all(rows == [] for rows in found.sections.values())
  assert found.code['same'] is True and found.metrics.is_bitwise
  assert json.loads(json.dumps(found.to_dict()))['metrics']['bitwise'] is True
  assert run.missing == {}


def test_every_planted_difference_is_found_and_nothing_else(tmp_path):
  other = start(
    python='3.12.0', versions={'jax': '2'}, mesh={'data': 2}, hostname='g',
    data={'tokenizer': 'u', 'data': {'seed': 1}},
    git=dict(commit='b' * 40, dirty=True, patch='', untracked=['x.py']),
  )  # fmt: skip
  runs = (
    write_run(tmp_path / 'one', [3.0, 2.0, 1.0]),
    write_run(tmp_path / 'two', [3.0, 2.1, 1.0], [other], **{'model.d_model': 64}),
  )
  found = run_diff.compare(*map(run_diff.read, runs))
  fields = {name: [row[0] for row in rows] for name, rows in found.sections.items()}
  assert fields['config'] == ['model.d_ff', 'model.d_model', 'model.head_dim']
  assert fields['versions'] == ['python', 'versions.jax']
  assert fields['machine'] == ['hostname'] and fields['mesh'] == ['data']
  assert fields['data'] == ['data.seed', 'tokenizer']
  assert found.code['same'] is False and found.code['second']['untracked'] == ['x.py']
  assert [each.step for each in found.metrics.parts_at] == [2]
  assert dict((n, v) for n, *v in found.finals)['validation/loss'] == [1.0, 1.0]


def test_what_changed_between_the_starts_of_a_run_is_told(tmp_path):
  later = start(step=5, versions={'jax': '2'}, git=None)
  run = run_diff.read(write_run(tmp_path / 'one', [3.0], [start(), later]))
  assert run_diff.changed_between_starts(run) == [
    (5, 'code', 'aaaaaaaaaa', 'not in git'),
    (5, 'versions.jax', '1', '2'),
  ]


def test_missing_and_damaged_files_are_named(tmp_path):
  whole = run_diff.read(write_run(tmp_path / 'one', [3.0]))
  folder = write_run(tmp_path / 'two', [3.0])
  (folder / 'config.json').unlink()
  (folder / 'run.json').write_text('{"starts": [')
  broken = run_diff.read(folder)
  assert set(broken.missing) == {'config.json', 'run.json'}
  assert 'not valid JSON' in broken.missing['run.json']
  found = run_diff.compare(whole, broken)
  assert found.sections['config'] is found.sections['mesh'] is None
  assert found.code['same'] is None and found.metrics.is_bitwise
  (tmp_path / 'empty').mkdir()
  with pytest.raises(CheckpointError, match='no run there that can be read'):
    run_diff.read(tmp_path / 'empty')


def test_a_run_in_progress_is_read_and_said_to_be_one(tmp_path):
  folder = write_run(tmp_path / 'one', [3.0])
  with lock.held(folder):
    assert run_diff.read(folder).writer is not None
  assert run_diff.read(folder).writer is None


def test_a_first_edition_is_compared_under_todays_names(tmp_path):
  with zipfile.ZipFile(SAVED) as archive:
    archive.extractall(tmp_path / 'old')
  old = run_diff.read(tmp_path / 'old')
  new = run_diff.read(write_run(tmp_path / 'new', [3.0]))
  fields = {row[0] for row in run_diff.compare(old, new).sections['config']}
  assert 'parallel.preset' in fields and 'parallel.rules' not in fields
  assert old.last_step == 4


def test_the_tolerance_is_that_of_the_coarser_dtype(tmp_path):
  runs = [
    run_diff.read(write_run(tmp_path / dtype, [3.0], **{'model.dtype': dtype}))
    for dtype in ('float32', 'bfloat16')
  ]
  found = run_diff.compare(*runs)
  assert found.metrics.tolerance == run_diff.TOLERANCES['bfloat16']
  assert run_diff.compare(*runs, tolerance=0.5).metrics.tolerance == 0.5
