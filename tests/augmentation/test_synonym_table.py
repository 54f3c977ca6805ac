"""A table of synonyms is read line by line."""

import pytest

from gpt_jax.augmentation import synonym_table
from gpt_jax.core.errors import ConfigError, DataError


def write(tmp_path, content):
  path = tmp_path / 'table.tsv'
  path.write_bytes(content.encode() if isinstance(content, str) else content)
  return path


def test_words_have_the_synonyms_of_all_their_lines(tmp_path):
  text = '# mine\n\nGood\tfine, nice\ngood\tNICE,great,fine\n很好\t不错\nsame\tSame\n'
  table = synonym_table.read(write(tmp_path, text))
  assert table.of('GOOD') == ('fine', 'nice', 'NICE', 'great')
  assert table.of('很好') == ('不错',) and table.of('same') == table.of('x') == ()
  assert table.longest == 4


@pytest.mark.parametrize(
  'content, message',
  [
    ('good\tfine\ngood fine\n', "line 2: 'good fine': expected word<TAB>"),
    ('good\tfine,,nice\n', 'line 1: '),
    ('\tfine\n', 'line 1: '),
    ('# nothing\n', 'has no synonyms'),
    (b'\xff\xfe', 'not UTF-8'),
  ],
)
def test_lines_of_another_form_are_named(content, message, tmp_path):
  with pytest.raises(DataError, match=message):
    synonym_table.read(write(tmp_path, content))


def test_a_missing_table_is_said(tmp_path):
  with pytest.raises(ConfigError, match='nowhere.* cannot be read: No such file'):
    synonym_table.read(tmp_path / 'nowhere')
