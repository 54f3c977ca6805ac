"""The context of a text that outgrows a table of positions."""

import numpy as np

from gpt_jax.inference.context import Contexts


def grow(prompt_lens, num_new, table_len):
  """Returns the contexts' first indices before each of `num_new` tokens, [n][B]."""
  texts = [np.arange(length) for length in prompt_lens]
  contexts, starts = Contexts(texts, table_len), []
  for n in range(num_new):
    contexts.crop()
    assert contexts.free() >= 1
    rows, _ = contexts.read()
    assert all(
      ids[-1] == length + n - 1 for ids, length in zip(rows, prompt_lens, strict=True)
    )
    assert max(map(len, rows)) <= table_len
    starts.append([int(ids[0]) for ids in rows])
    contexts.extend(np.array([[length + n] for length in prompt_lens]))
  return starts


def test_a_full_table_is_cut_to_its_later_half():
  assert [start for (start,) in grow([3], 10, 4)] == [0, 0, 3, 3, 3, 6, 6, 6, 9, 9]


def test_of_a_longer_prompt_the_last_part_is_read():
  assert grow([9], 2, 4) == [[5], [8]]


def test_where_a_context_begins_depends_on_its_own_text_alone():
  together = grow([1, 3, 9], 12, 4)
  alone = [[start for (start,) in grow([length], 12, 4)] for length in (1, 3, 9)]
  assert [list(starts) for starts in zip(*together, strict=True)] == alone


def test_a_table_of_one_token_still_writes():
  assert [start for (start,) in grow([1], 4, 1)] == [0, 1, 2, 3]


def test_a_cropped_context_holds_less_of_the_prompt():
  contexts = Contexts([np.arange(4)], 4)
  assert contexts.read()[1].tolist() == [4]
  contexts.extend(np.array([[4]]))
  contexts.crop()
  rows, prefix_B = contexts.read()
  assert rows[0].tolist() == [3, 4] and prefix_B.tolist() == [1]
