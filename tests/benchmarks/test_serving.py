"""Serving is timed with the scheduler, on the same tokens as batches."""

import numpy as np
import pytest

from gpt_jax.benchmarks import serving
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import many
from gpt_jax.inference.scheduler import Scheduler
from tests.benchmarks.small_workloads import make_timed


@pytest.mark.slow
def test_slots_and_batches_write_the_same_tokens(tmp_path, monkeypatch):
  monkeypatch.setattr(serving, 'REQUESTS', 6)
  overrides = {'inference.slots': 2, 'inference.prefill_chunk': 16}
  timed = make_timed(tmp_path, overrides | {'model.max_seq_len': 48})
  written, reused = [], []
  usual, step = many.write, Scheduler.step
  monkeypatch.setattr(many, 'write', lambda *args: written.append(usual(*args)))
  cases = {case.name: case for case in serving.cases(timed)}
  assert list(cases) == [
    'serving', 'serving_batches', 'first_token', 'first_token_prefix',
  ]  # fmt: skip
  lengths = [len(text.ids) for text in written[0]]
  assert cases['serving'].tokens == cases['serving_batches'].tokens == sum(lengths)

  def count(self):
    left = step(self)
    reused.append(self.counts['reused'])
    return left

  monkeypatch.setattr(Scheduler, 'step', count)
  cases['first_token'].run(2)
  before = reused[-1]
  assert before == reused[0]
  cases['first_token_prefix'].run(2)
  assert reused[-1] == before + 2 * 16


def test_lengths_are_mixed_and_the_same_at_every_call():
  sent, again = serving.requests(100, 256, 64), serving.requests(100, 256, 64)
  lengths = [(len(r.prompt_ids), r.max_new_tokens) for r in sent]
  assert lengths == [(len(r.prompt_ids), r.max_new_tokens) for r in again]
  assert np.min(lengths) < 20 and np.max(lengths) > 240 and np.max(lengths) <= 256


@pytest.mark.slow
def test_a_model_that_writes_no_text_is_refused(tmp_path):
  timed = make_timed(tmp_path, {'objective.name': 'masked_lm'})
  with pytest.raises(ConfigError, match='leave serving out of --what'):
    serving.cases(timed)
