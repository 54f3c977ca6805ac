"""Few lengths, so few programs, and little padding."""

import pytest

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.tasks import buckets


@pytest.mark.parametrize('seq_len', [1, 16, 64, 100, 512])
def test_padding_is_less_than_a_third_of_longer_rows(seq_len):
  widths = buckets.widths((), seq_len)
  assert widths[-1] == seq_len
  assert list(widths) == sorted(set(widths))
  for length in range(buckets.SHORTEST + 1, seq_len + 1):
    assert buckets.width_of(length, widths) - length < length / 2


def test_own_buckets_end_with_the_longest_row():
  assert buckets.widths((32, 8), 50) == (8, 32, 50)
  with pytest.raises(ConfigError, match=r'task.buckets=\(64,\): expected lengths of 1'):
    buckets.widths((64,), 50)


def test_a_row_that_no_bucket_holds_is_named():
  with pytest.raises(DataError, match='a row has 51 tokens, more than data.seq_len=50'):
    buckets.width_of(51, (8, 50))
