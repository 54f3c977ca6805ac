"""Each line of metrics.jsonl is valid JSON; a resumed run replaces repeated steps."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.tracking import metrics_file


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'run' / 'metrics.jsonl'


def write(path, steps, loss, restored_step=0):
  """Writes one line per step, all with the same loss."""
  file = metrics_file.MetricsFile(path, restored_step)
  for step in steps:
    file.write(step, {'train/loss': loss}, tokens=10 * step, time=100.0 + step)
  file.close()


def test_each_line_has_step_tokens_time_and_flat_names(path):
  write(path, [1], 2.5)
  assert json.loads(path.read_text()) == {
    'step': 1,
    'tokens': 10,
    'time': 101.0,
    'train/loss': 2.5,
  }


def test_scalars_of_numpy_and_jax_become_numbers(path):
  file = metrics_file.MetricsFile(path)
  values = {'a': jnp.float32(0.5), 'b': np.int64(2**40), 'c': np.float64(1.5)}
  file.write(np.int32(1), values, tokens=jnp.int32(4), time=0)
  file.close()
  assert metrics_file.read_lines(path)[0] | values == {
    'step': 1, 'tokens': 4, 'time': 0.0, 'a': 0.5, 'b': 2**40, 'c': 1.5,
  }  # fmt: skip


@pytest.mark.parametrize('value', [math.nan, math.inf, jnp.float32(-jnp.inf)])
def test_what_is_not_a_finite_number_is_null(path, value):
  write(path, [1], value)
  line = json.loads(path.read_text(), parse_constant=pytest.fail)
  assert line['train/loss'] is None
  assert 'train/loss' not in metrics_file.read(path)


def test_resuming_drops_the_lines_after_the_restored_step(path):
  write(path, [1, 2, 3, 4], loss=1.0)
  write(path, [3, 4, 5], loss=2.0, restored_step=2)
  losses = [(r['step'], r['train/loss']) for r in metrics_file.read_lines(path)]
  assert losses == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]


def test_resuming_drops_a_line_that_a_crash_truncated(path):
  write(path, [1, 2], loss=1.0)
  content = path.read_bytes()
  path.write_bytes(content + bytes(64) + b'\xff\n' + content[:20])
  write(path, [3], loss=2.0, restored_step=2)
  lines = path.read_text().splitlines()
  assert [json.loads(line)['step'] for line in lines] == [1, 2, 3]


def test_a_run_from_step_zero_replaces_what_an_earlier_one_left(path):
  write(path, [1, 2], loss=1.0)
  write(path, [1], loss=2.0)
  assert metrics_file.read(path)['train/loss'] == [(1, 2.0)]


def test_lines_are_visible_before_the_file_is_closed(path):
  file = metrics_file.MetricsFile(path)
  file.write(1, {'train/loss': 1.0}, tokens=1, time=0)
  assert len(metrics_file.read_lines(path)) == 1
  file.close()


def test_reading_merges_the_lines_of_a_step(path):
  write(path, [2, 1], loss=1.0)
  file = metrics_file.MetricsFile(path, restored_step=2)
  file.write(2, {'validation/loss': 3.0}, tokens=20, time=103.0)
  file.close()
  assert metrics_file.read(path) == {
    'tokens': [(1, 10), (2, 20)],
    'time': [(1, 101.0), (2, 103.0)],
    'train/loss': [(1, 1.0), (2, 1.0)],
    'validation/loss': [(2, 3.0)],
  }


def test_a_path_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('in the way')
  with pytest.raises(StorageError, match='cannot write .*file/metrics.jsonl'):
    metrics_file.MetricsFile(tmp_path / 'file' / 'metrics.jsonl')
