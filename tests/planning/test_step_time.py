"""Times of a step: what a kernel costs follows from objective and layer."""

import types

import pytest

from gpt_jax.parallel import chips
from gpt_jax.planning import step_time
from tests.planning.test_kernel_model import kernel


def seconds(visibility, pattern=('global', 'local:512')):
  program = types.SimpleNamespace(
    config=types.SimpleNamespace(model=types.SimpleNamespace(layer_pattern=pattern)),
    objective=types.SimpleNamespace(visibility=visibility),
  )
  # The kernel is that of block_1 in an iteration over two layers.
  call = kernel(length=4096)
  return step_time._kernel_work(program, chips.TPUS['v5e'])(call).seconds


def test_only_bidirectional_objectives_see_all_blocks():
  pattern = ('global', 'global')
  causal = seconds('causal', pattern)
  assert seconds('prefix', pattern) == causal
  # Of 8 x 8 blocks a causal mask allows 36.
  assert seconds('bidirectional', pattern) == pytest.approx(causal * 64 / 36)


def test_local_layers_cost_the_blocks_of_their_window():
  share = seconds('causal') / seconds('causal', ('global', 'global'))
  assert share == pytest.approx(15 / 36)
