"""The script for a GPU, rehearsed on a CPU so that it works on the day it is needed."""

import json
import runpy

import jax
import pytest

from gpt_jax.benchmarks import timing
from tests import tiny_runs


@pytest.fixture
def script():
  return runpy.run_path(str(tiny_runs.ROOT / 'launch' / 'gpu_bars.py'))


def test_without_a_gpu_it_says_so(script, capsys):
  if jax.default_backend() == 'gpu':
    pytest.skip('there is a GPU')
  assert script['main']([]) == 0
  assert 'skipped: no GPU here' in capsys.readouterr().out


def test_the_rehearsal_makes_every_figure(script, capsys, monkeypatch):
  monkeypatch.setattr(timing, 'MIN_SECONDS', 0.0)
  assert script['main'](['--tiny', '--rounds=1', '--json']) == 0
  out = capsys.readouterr().out
  found = json.loads(out.splitlines()[-1])
  assert found['training']['124m']['tokens_per_second'] > 0
  assert found['training']['1558m']['memory_gib'] > 0
  assert found['decoding']['gb_per_second'] > 0
  for kernel in ('fused', 'blockwise', 'dense'):
    assert found['attention'][f'8/attention/{kernel}/32/both'] > 0
  assert set(found['bars']) == set(script['BARS'])
  assert 'heads of 8' in out


def test_the_full_sizes_are_those_of_the_bars(script):
  full = script['FULL']
  assert full.lengths == (1024, 2048, 4096, 8192, 16384)
  assert full.head_dims == (64, 128)
  assert set(full.training) == {'124m', '1558m'}


def test_bars_are_read_off_the_results(script):
  result = dict(
    device='NVIDIA H200',
    training={
      '124m': {'tokens_per_second': 400_000.0},
      '1558m': {'tflops': 494.5, 'published_tflops': 989.0},
    },
    decoding={'gb_per_second': 3600.0},
  )
  assert [value for value, _ in script['verdicts'](result).values()] == [
    400_000.0, 0.5, 0.75,
  ]  # fmt: skip
  nothing = dict(
    device='cpu', training={'124m': {'skipped': ''}, '1558m': {'skipped': ''}},
    decoding={'skipped': ''},
  )  # fmt: skip
  assert [value for value, _ in script['verdicts'](nothing).values()] == [None] * 3
