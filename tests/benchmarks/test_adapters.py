"""Eight adapters are timed on the texts that they write, beside one and none."""

import pytest

from gpt_jax.benchmarks import adapters
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference.engine import Engine
from tests.benchmarks.small_workloads import make_timed

pytestmark = pytest.mark.slow


def test_the_same_prompts_have_no_adapter_one_and_eight(tmp_path, monkeypatch):
  asked, written = [], []
  usual = Engine.generate

  def generate(self, requests):
    asked.append([request.adapter for request in requests])
    written.append([ids.tolist() for ids in usual(self, requests)])

  monkeypatch.setattr(Engine, 'generate', generate)
  cases = adapters.cases(make_timed(tmp_path))
  assert [case.name for case in cases] == ['adapters_0', 'adapters_1', 'adapters_8']
  assert {case.tokens for case in cases} == {8 * 10}
  asked.clear()
  written.clear()
  for case in cases:
    case.run(1)
  assert asked[:2] == [[None] * 8] * 2
  assert asked[2] == [f'adapter_{i}' for i in range(8)]
  assert [len(ids) for texts in written for ids in texts] == [10] * 24
  assert written[1][7] == written[2][7]  # the one is the last of the eight


def test_a_model_that_writes_no_text_is_refused(tmp_path):
  timed = make_timed(tmp_path, {'objective.name': 'masked_lm'})
  with pytest.raises(ConfigError, match='leave adapters out of --what'):
    adapters.cases(timed)
