"""Hooks: when they are due, and what each leaves."""

import subprocess
import sys
import types

import jax
import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.data.tokenizers import CharTokenizer
from gpt_jax.train import hooks
from tests import tiny_runs

SESSION = types.SimpleNamespace(
  program=types.SimpleNamespace(horizon=types.SimpleNamespace(total_steps=10))
)


@pytest.mark.parametrize(
  'every, at_end, expected',
  [(4, False, [4, 8]), (4, True, [4, 8, 10]), (5, True, [5, 10]), (0, True, [10]),
   (0, False, [])],
)  # fmt: skip
def test_a_hook_is_due_every_n_steps_and_maybe_at_the_end(every, at_end, expected):
  hook = hooks.Every(every, print, at_end=at_end)
  steps = [types.SimpleNamespace(step=step) for step in range(1, 11)]
  assert [at.step for at in steps if hook.is_due(SESSION, at)] == expected


def test_a_profile_covers_the_steps_that_were_asked_for(tmp_path, monkeypatch):
  calls = []
  monkeypatch.setattr(jax.profiler, 'start_trace', lambda path: calls.append('start'))
  monkeypatch.setattr(jax.profiler, 'stop_trace', lambda: calls.append('stop'))
  with hooks.Profile(tmp_path, 2, 3) as profile:
    for step in range(8):
      profile.before(step)
      calls.append(step)
  assert calls == [0, 1, 'start', 2, 3, 4, 'stop', 5, 6, 7]


def test_a_profile_of_no_steps_never_starts(tmp_path, monkeypatch):
  monkeypatch.setattr(jax.profiler, 'start_trace', lambda path: pytest.fail('started'))
  with hooks.Profile(tmp_path, 2, 0) as profile:
    for step in range(8):
      profile.before(step)


FAILS_WHILE_PROFILED = """
import sys
import jax.numpy as jnp
from gpt_jax.train import hooks
from tests import tiny_runs

with hooks.Profile(sys.argv[1], 0, 5) as profile:
  profile.before(0)
  jnp.ones(2).block_until_ready()
  raise RuntimeError('mid-run')
"""


@pytest.mark.slow
def test_a_profile_ends_with_the_run_even_if_that_fails(tmp_path):
  # In a process of its own: the profiler crashes one that has loaded libtpu for plans.
  program = [sys.executable, '-c', FAILS_WHILE_PROFILED, str(tmp_path)]
  done = subprocess.run(program, capture_output=True, text=True, cwd=tiny_runs.ROOT)
  assert 'RuntimeError: mid-run' in done.stderr
  assert list(tmp_path.rglob('*.xplane.pb'))


GIB = 1 << 30


@pytest.mark.parametrize(
  'held, free, is_given',
  [(5 * GIB, 9 * GIB, True), (5 * GIB, 11 * GIB, False), (GIB // 2, 0, False),
   (5 * GIB, None, False)],
)  # fmt: skip
def test_freed_memory_is_given_back_once_it_is_scarce(
  held, free, is_given, monkeypatch
):
  given = []
  monkeypatch.setattr(hooks.process_memory, 'resident_bytes', lambda: 6 * GIB)
  monkeypatch.setattr(hooks.malloc, 'held_bytes', lambda: held)
  monkeypatch.setattr(hooks.malloc, 'give_back', lambda: given.append(held))
  monkeypatch.setattr(hooks.free_memory, 'host_bytes', lambda: free)
  seconds = iter([0.0, 0.5, 1.5])
  monkeypatch.setattr(hooks.time, 'monotonic', lambda: next(seconds))
  release = hooks.ReleaseMemory()
  release(None, None)
  assert not given  # so soon after the last look
  release(None, None)
  assert bool(given) == is_given


def test_a_prompt_that_cannot_be_encoded_fails_before_training():
  session = types.SimpleNamespace(
    tokenizer=CharTokenizer('abc'),
    config=types.SimpleNamespace(
      logging=types.SimpleNamespace(sample_prompts=('abba', 'abX'))
    ),
  )
  with pytest.raises(DataError, match="logging.sample_prompts: character 'X'"):
    hooks.Samples(session)
