"""Shapes and record of a step, read without its arrays."""

import pytest

from gpt_jax.checkpoints import reading
from tests.faults import flips


def test_shapes_and_the_record_are_read(tmp_path):
  folder = flips.make_steps(tmp_path / 'run') / '3'
  found = reading.tree(folder / 'params')
  assert found['embed'].shape == (64, 32)
  assert found['block']['kernel'].dtype == 'bfloat16'
  assert reading.record(folder / 'meta') == dict(meta={'next_sample': 3}, metrics={})
  (folder / 'meta' / 'metadata').write_text('{}')
  with pytest.raises(KeyError):
    reading.record(folder / 'meta')
