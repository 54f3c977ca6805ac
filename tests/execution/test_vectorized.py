"""A vectorized sweep leaves the workdirs that the usual one leaves."""

import pytest

from gpt_jax.execution import runner, vectorized
from gpt_jax.sweeps import states
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.execution.test_runner import Silent
from tests.sweeps import studies

SWEEP = "vary('optimizer.learning_rate', 0.01, 0.02)"
FIELDS = ('seed', 'optimizer.learning_rate')


def test_points_are_grouped_by_all_but_the_named_fields(tmp_path):
  study = studies.study(
    tmp_path,
    rows="{'a': {}, 'b': {'optimizer.b1': 0.5}}",
    sweep=SWEEP,
    seeds='(0, 1)',
  )
  executor = vectorized.Vectorized(study.points, FIELDS)
  assert executor.capacity == 4
  executor.submit(study.points[0])
  accepted = [point for point in study.points if executor.accepts(point)]
  assert {point.row for point in accepted} == {'a'}
  more = vectorized.Vectorized(study.points, (*FIELDS, 'optimizer.b1'))
  assert more.capacity == 8


def test_points_that_start_from_a_group_are_one_too(tmp_path):
  rows = "{'a': {}, 'b': {'init_from': FromRow('a')}, 'c': {'init_from': FromRow('b')}}"
  study = studies.study(tmp_path, rows=rows, seeds='(1, 10)')
  keys = vectorized.groups_of(study.points, ('seed',))
  for row in 'abc':
    assert keys[f'{row},seed=1'] == keys[f'{row},seed=10']
  assert len(set(keys.values())) == 3
  chosen = study.points[1:]
  told = list(vectorized.described_groups(study, chosen, ('seed',)))
  assert told[0] == '--vectorize=seed: 3 groups train one after another'
  assert '     2 together, b,seed=1 to b,seed=10' in told


@pytest.mark.slow
def test_a_vectorized_sweep_finishes_what_is_missing(tmp_path):
  rows = "{'a': {}, 'b': {'model.bias': True}}"
  study = studies.study(tmp_path, rows=rows, sweep=SWEEP, seeds='(0, 1)')
  first = runner.begin(study.points[:1])
  runner.run(first, runner.InProcess(), Silent())
  before = tiny_runs.lines(Workdir(study.points[0].workdir))
  progress = runner.begin(study.points)
  with vectorized.Vectorized(study.points, FIELDS) as executor:
    runner.run(progress, executor, Silent())
  names = [point.name for point in study.points]
  assert executor.programs == [names[1:4], names[4:]]
  assert all(map(states.is_done, study.points))
  assert progress.num_done_before == 1
  assert tiny_runs.lines(Workdir(study.points[0].workdir)) == before


@pytest.mark.slow
def test_a_point_that_fails_stops_no_other(tmp_path):
  study = studies.study(tmp_path, sweep=SWEEP, seeds='(0,)')
  broken, good = study.points
  broken.workdir.mkdir(parents=True)
  (broken.workdir / 'checkpoints').write_text('no folder')
  progress = runner.begin(study.points)
  with vectorized.Vectorized(study.points, FIELDS) as executor:
    runner.run(progress, executor, Silent())
  assert list(progress.failed) == [broken.name]
  assert states.is_done(good)
