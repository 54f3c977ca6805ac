"""The program for a GPU, rehearsed on a CPU."""

import json

import jax
import pytest

from gpt_jax.benchmarks import targets_gpu, timing


def test_without_a_gpu_it_says_so(capsys):
  if jax.default_backend() == 'gpu':
    pytest.skip('there is a GPU')
  assert targets_gpu.main([]) == 0
  assert 'skipped: no GPU here' in capsys.readouterr().out


@pytest.mark.slow
def test_a_training_step_is_measured(capsys, monkeypatch):
  monkeypatch.setattr(timing, 'MIN_SECONDS', 0.0)
  found = targets_gpu.training('124m', targets_gpu.TINY, rounds=1)
  assert found['tokens_per_second'] > 0
  assert 'gpt2 124m: step' in capsys.readouterr().out


@pytest.mark.slow
def test_the_rehearsal_measures_every_metric(capsys, monkeypatch):
  monkeypatch.setattr(timing, 'MIN_SECONDS', 0.0)
  assert targets_gpu.main(['--tiny', '--rounds=1', '--json']) == 0
  out = capsys.readouterr().out
  found = json.loads(out.splitlines()[-1])
  assert found['training']['124m']['tokens_per_second'] > 0
  assert found['training']['1558m']['memory_gib'] > 0
  assert found['decoding']['gb_per_second'] > 0
  for kernel in ('fused', 'blockwise', 'dense'):
    assert found['attention'][f'8/attention/{kernel}/32/both'] > 0
  assert set(found['targets']) == set(targets_gpu.TARGETS)
  assert 'heads of 8' in out


def test_the_full_sizes_are_those_of_the_targets():
  full = targets_gpu.FULL
  assert full.lengths == (1024, 2048, 4096, 8192, 16384)
  assert full.head_dims == (64, 128)
  assert set(full.training) == {'124m', '1558m'}


def test_targets_are_compared_with_the_results():
  result = dict(
    device='NVIDIA H200',
    training={
      '124m': {'tokens_per_second': 400_000.0},
      '1558m': {'tflops': 494.5, 'published_tflops': 989.0},
    },
    decoding={'gb_per_second': 3600.0},
  )
  assert [value for value, _ in targets_gpu.compare(result).values()] == [
    400_000.0, 0.5, 0.75,
  ]  # fmt: skip
  nothing = dict(
    device='cpu', training={'124m': {'skipped': ''}, '1558m': {'skipped': ''}},
    decoding={'skipped': ''},
  )  # fmt: skip
  assert [value for value, _ in targets_gpu.compare(nothing).values()] == [None] * 3
