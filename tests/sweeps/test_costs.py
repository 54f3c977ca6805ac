"""What a run cost, recomputed from its config and its times."""

import json

import pytest

from gpt_jax.model import flops
from gpt_jax.sweeps import costs
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs
from tests.sweeps import fake_study


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  study = fake_study.make(tmp_path_factory.mktemp('costs'), lambda point: 1.0)
  return Workdir(study.points[0].workdir)


def test_parameters_are_those_of_the_saved_config(workdir):
  d, ff, v = 32, 128, fake_study.VOCAB_SIZE
  # Two layers without bias: attention 4 d d, MLP 2 d ff, two norms; tied embedding.
  expected = 2 * (4 * d * d + 2 * d * ff + 2 * d) + v * d + d
  assert costs.parameters(costs.read_config(workdir)) == expected


def test_tokens_and_flops_are_those_of_the_training(workdir):
  config = costs.read_config(workdir)
  assert costs.tokens(config) == fake_study.STEPS * 8 * 16
  per_token = flops.flops_per_token(config.model, 16)
  assert costs.flops(config) == per_token * costs.tokens(config)


def test_seconds_leave_out_the_time_between_starts(workdir, tmp_path):
  copy = Workdir(tmp_path)
  lines = workdir.metrics.read_text().splitlines()
  run = json.loads(workdir.run.read_text())
  later = dict(run['starts'][0], time='2026-01-02T00:00:00+00:00')
  copy.run.write_text(json.dumps({'starts': [*run['starts'], later]}))
  day = 24 * 3600
  moved = [json.loads(line) for line in lines[3:]]
  moved = [json.dumps(line | {'time': line['time'] + day}) for line in moved]
  copy.metrics.write_text('\n'.join([*lines[:3], *moved]) + '\n')
  # 30 s until step 3; the second start has 60 s until step 6.
  parts = costs.intervals(copy)
  assert [end - begin for begin, end in parts] == pytest.approx([30, 60])
  assert costs.seconds(copy) == pytest.approx(90)
  begin = fake_study.BEGIN.timestamp()
  assert costs.seconds_at(parts, [begin + 10, begin + day + 40]) == pytest.approx(
    [10, 70]
  )


def test_overlapping_intervals_count_once():
  assert costs.union_seconds([(0, 2), (5, 6), (1, 3), (1, 2)]) == 4
  assert costs.union_seconds([]) == 0


@pytest.mark.parametrize(
  'fields, expected',
  [
    ({}, None),
    ({'peft.name': 'lora', 'peft.options.rank': 3}, 2 * 2 * 3 * (32 + 32)),
    ({'peft.name': 'last_layers', 'peft.options.layers': 1}, 12 * 32**2 + 3 * 32),
  ],
)
def test_trained_parameters_are_those_that_do_not_stay(fields, expected):
  config = tiny_runs.tiny_config(
    {'model.vocab_size': 16, 'model.scan_layers': False, **fields}
  )
  expected = costs.parameters(config) if expected is None else expected
  assert costs.trained_parameters(config) == expected
