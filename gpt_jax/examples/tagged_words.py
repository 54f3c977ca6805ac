"""Words with tags: CoNLL columns, and lines of characters with their tags."""

import re

from gpt_jax.core.errors import DataError
from gpt_jax.examples import content
from gpt_jax.examples.record import Record, shown

# No other white space: a no-break or ideographic space may be a word of its own.
_COLUMNS = re.compile(r'[ \t]+')


def read_conll(paths, encoding):
  """Yields {'words', 'tags'} of sentences in columns, one word a line.

  Blank lines end a sentence, -DOCSTART- lines are none; the first column is the word,
  the last one its tag, as in CoNLL-2003 (arXiv:cs/0306050).
  """
  for path in paths:
    words, tags, first, columns = [], [], 0, None
    for number, line in enumerate([*content.lines(path, encoding), ''], start=1):
      row = _COLUMNS.split(line.strip(' \t'))
      if row[0] and row[0] != '-DOCSTART-':
        columns = columns or len(row)
        _check_row(row, columns, f'{path}, line {number}')
        first = first or number
        words.append(row[0])
        tags.append(row[-1])
      elif words:
        place = f'{path}, line {first}'
        yield Record({'words': words, 'tags': tags}, place, (str(path), first))
        words, tags, first = [], [], 0


def _check_row(row, columns, place):
  if len(row) != columns or len(row) < 2:
    expected = f'{columns}, as in the first row' if columns > 1 else 'a word and a tag'
    raise DataError(
      f'{place}: {len(row)} columns ({shown(row)}); expected {expected}. Mend the row,'
      ' or leave the line blank to end a sentence.'
    )


def read_char_tags(paths, encoding):
  """Yields {'words', 'tags'} of lines `c c c<TAB>tag tag tag`."""
  for path in paths:
    for place, line in content.filled_lines(path, encoding):
      parts = line.split('\t')
      if len(parts) != 2:
        raise DataError(
          f'{place}: {len(parts)} columns ({shown(parts)}); expected 2: characters and'
          ' tags, each with spaces between them, and a tab between the two.'
        )
      words, tags = (part.strip(' ').split(' ') for part in parts)
      if len(words) != len(tags):
        raise DataError(
          f'{place}: {len(words)} characters and {len(tags)} tags; expected a tag for'
          ' each character. Mend the line.'
        )
      yield Record({'words': words, 'tags': tags}, place)
