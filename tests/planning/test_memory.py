"""Memory of a step: how much was missing, by XLA's error."""

import pytest

from gpt_jax.planning import memory


@pytest.mark.parametrize(
  'message, short, needed',
  [
    (
      'Ran out of memory on HBM, the total memory required for HLO temporaries'
      ' (15.83G) exceeds available HBM (15.75G).',
      0.08,
      15.83,
    ),
    (
      'CompileTimeHbmOom: XLA:TPU compile permanent error. Used 22.73G of 15.75G hbm.'
      ' Exceeded hbm capacity by 6.98G.',
      6.98,
      22.73,
    ),
    ('Used 512.0M of 0.25G hbm.', 0.25, 0.5),
  ],
)
def test_missing_memory_is_read_from_the_error(message, short, needed):
  assert memory.shortage(message) == pytest.approx((short, needed))


def test_an_error_without_numbers_gives_none():
  assert memory.shortage('RESOURCE_EXHAUSTED: no more') == (None, None)
