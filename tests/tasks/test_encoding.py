"""Rows of texts: what stands between them, and what becomes of long ones."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.tasks.encoding import Counts
from tests.tasks import tiny_tasks

TOKENIZER = ByteTokenizer()


def encoder(seq_len=12, **overrides):
  settings = {f'task.{name}': value for name, value in overrides.items()}
  settings['data.seq_len'] = seq_len
  task = tiny_tasks.task_of('classification', 'class_labels', ('no', 'yes'), settings)
  return tiny_tasks.encoder_of(task, TOKENIZER)


def texts(made, *parts):
  """Returns the texts of each version of `parts`."""
  encoded = [made.ids(part) for part in parts]
  return [[TOKENIZER.decode(part) for part in one] for one in made.fit(encoded)]


def test_short_texts_stay_as_they_are():
  made = encoder()
  assert texts(made, 'abc', 'de') == [['abc', 'de']]
  assert made.counts.describe(12) == ''


@pytest.mark.parametrize(
  ('too_long', 'kept'), [('truncate', 'abcdefghijk'), ('truncate_left', 'cdefghijklm')]
)
def test_long_texts_lose_an_end(too_long, kept):
  made = encoder(too_long=too_long)
  assert texts(made, 'abcdefghijklm') == [[kept]]
  assert made.counts.truncated == 1


def test_the_longest_part_gives_tokens_away_first():
  made = encoder()
  assert texts(made, 'a' * 20, 'bcd') == [['a' * 7, 'bcd']]
  assert texts(made, 'a' * 20, 'b' * 20) == [['a' * 5, 'b' * 5]]


def test_windows_overlap_and_cover_all():
  made = encoder(too_long='window', window_stride=5)
  found = [one[0] for one in texts(made, 'abcdefghijklmnopqrstu')]
  assert found == ['abcdefghijk', 'fghijklmnop', 'klmnopqrstu']
  assert 'read in windows' in made.counts.describe(12)


def test_dropped_examples_are_counted():
  made = encoder(too_long='drop')
  assert texts(made, 'a' * 20) == []
  assert made.counts.describe(12).startswith('1 dropped of 1 examples')


@pytest.mark.parametrize('too_long', ['truncate', 'drop'])
def test_prompts_are_counted_by_what_becomes_of_them(too_long):
  made = encoder(too_long=too_long)
  counts, is_dropped = made.counts, too_long == 'drop'
  assert [made.admits(cut) for cut in (False, True)] == [True, not is_dropped]
  name = 'dropped' if is_dropped else 'truncated'
  assert counts.metrics() == {f'prompts_{name}': 1.0}
  assert f'prompts: 1 {name} of 2, which with their answers' in (
    counts.describe_prompts(8)
  )
  assert Counts(examples=2).describe_prompts(8) == '' and not Counts().metrics()


def test_a_row_ends_with_the_end_token():
  made = encoder()
  tokens, types = made.frame(made.ids('ab'), made.ids('c'))
  assert TOKENIZER.decode(tokens[:-1]) == 'ab\nc'
  assert tokens[-1] == TOKENIZER.eos_id
  assert types.tolist() == [0, 0, 0, 1, 1]


def test_a_row_without_space_for_a_text_is_refused():
  with pytest.raises(ConfigError, match='data.seq_len=1: leaves no token'):
    texts(encoder(seq_len=1), 'a')
