"""Shapes and record of a step, read without its arrays."""

import fault_flips
import pytest

from gpt_jax import checkpoint_reading


def test_shapes_and_the_record_are_read(tmp_path):
  folder = fault_flips.make_steps(tmp_path / 'run') / '3'
  found = checkpoint_reading.tree(folder / 'params')
  assert found['embed'].shape == (64, 32)
  assert found['block']['kernel'].dtype == 'bfloat16'
  assert checkpoint_reading.record(folder / 'meta') == dict(
    meta={'next_sample': 3}, metrics={}
  )
  (folder / 'meta' / 'metadata').write_text('{}')
  with pytest.raises(KeyError):
    checkpoint_reading.record(folder / 'meta')
