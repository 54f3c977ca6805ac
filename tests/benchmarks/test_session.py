"""A session times all entries and the peaks, or skips with a reason."""

import functools

import pytest

from gpt_jax import attention, benchmarks
from gpt_jax.attention import dense
from gpt_jax.benchmarks import peaks, session, timing, training
from gpt_jax.core.errors import ConfigError
from gpt_jax.planning import inputs
from tests.benchmarks.small_workloads import TINY_PEAK, make_program


def run_session(program, entries, workdir, monkeypatch):
  monkeypatch.setattr(timing, 'MIN_SECONDS', 0.0)
  return session.run(
    program,
    inputs.abstract_batch(program),
    entries,
    num_ids=16,
    workdir=workdir,
    rounds=2,
    peak_size=TINY_PEAK,
  )


@pytest.mark.slow
def test_a_session_times_all_entries_and_the_peaks(tmp_path, monkeypatch):
  monkeypatch.setattr(attention, 'KERNELS', {'dense': dense.attend})
  few = functools.partial(benchmarks.CASES['peft'], labels=['full', 'ia3'])
  entries = benchmarks.CASES | {'peft': few}
  report = run_session(make_program(), entries, tmp_path, monkeypatch)
  assert set(report.cases) == {
    'matmul', 'copy', 'step', 'forward', 'loader', 'long_prompt',
    'serving', 'serving_batches', 'first_token', 'first_token_prefix',
    'adapters_0', 'adapters_1', 'adapters_8', 'peft/full', 'peft/ia3',
    *(f'{kind}_{rows}' for kind in ('prefill', 'decode') for rows in (1, 8, 32)),
    *(f'attention/dense/{T}/{p}' for T in (16, 32) for p in ('forward', 'both')),
  }  # fmt: skip
  assert report.skipped == {}
  assert {len(case.rounds_ms) for case in report.cases.values()} == {2}


def test_the_copy_counts_reads_and_writes():
  matmul, copy = peaks.cases('bfloat16', TINY_PEAK)
  matmul.run(2)
  copy.run(2)
  assert matmul.flops == 2 * 16**3
  assert copy.bytes == 2 * 4096


def refuse(timed):
  raise ConfigError('cannot be timed')


def test_an_entry_that_refuses_is_skipped_among_others(tmp_path, monkeypatch):
  entries = {'forward': training.forward, 'odd': refuse}
  report = run_session(make_program(), entries, tmp_path, monkeypatch)
  assert report.skipped == {'odd': 'cannot be timed'}
  assert 'forward' in report.cases


def test_an_only_entry_that_refuses_is_an_error(tmp_path, monkeypatch):
  with pytest.raises(ConfigError, match='cannot be timed'):
    run_session(make_program(), {'odd': refuse}, tmp_path, monkeypatch)
