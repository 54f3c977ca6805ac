"""Lengths to which rows of a batch are padded: few, so that few programs compile."""

from gpt_jax.core.errors import ConfigError, DataError

SHORTEST = 16


def widths(buckets, seq_len):
  """Returns the lengths, ascending, the last one `seq_len`.

  `buckets`: task.buckets; (): from 16 on, by steps of a half and a third, which leaves
  less than a third of a batch to padding.
  """
  if any(not 0 < width <= seq_len for width in buckets):
    raise ConfigError(
      f'task.buckets={tuple(buckets)}: expected lengths of 1 to data.seq_len={seq_len}.'
    )
  if buckets:
    return tuple(sorted({*buckets, seq_len}))
  found, power = [], SHORTEST
  while power < seq_len:
    found += [power, power * 3 // 2]
    power *= 2
  return tuple(width for width in found if width < seq_len) + (seq_len,)


def width_of(length, available):
  """Returns the smallest of the ascending lengths that holds `length` tokens.

  Raises DataError where none does.
  """
  found = next((width for width in available if width >= length), None)
  if found is None:
    raise DataError(
      f'task: a row has {length} tokens, more than data.seq_len={available[-1]};'
      ' Task.encode has to cut it, or leave it out.'
    )
  return found
