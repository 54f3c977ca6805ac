"""Easy data augmentation of a text (Wei and Zou 2019, arXiv:1901.11196).

A text is a list of units: words with the space before them, and of Chinese or Japanese
the single characters, punctuation as well. An edit takes units, a rate, a generator and
a SynonymTable or None, and returns units; at rate 0, and of no units, the same ones.
"""

import re
import typing

# Punctuation in full width, kana, ideographs.
_CJK = (
  '\u3001-\u303f\uff01-\uff0f\uff1a-\uff20'
  '\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff'
)
_UNIT = re.compile(rf'(\s*)([{_CJK}]|[^\s{_CJK}]+)')
_CORE = re.compile(r'^(\W*)(.*?)(\W*)$', re.DOTALL)


class Unit(typing.NamedTuple):
  """A word or a character."""

  space: str  # before it, as it is in the text
  text: str


def split(text):
  """Returns the units of a text, and the space after the last one."""
  units = [Unit(*found.groups()) for found in _UNIT.finditer(text)]
  return units, text[sum(len(u.space) + len(u.text) for u in units) :]


def join(units, rest=''):
  """Returns the text of units, with a space between words that an edit joined."""
  parts = []
  for unit in units:
    is_glued = parts and not unit.space and _is_word(parts[-1][-1:])
    parts.append((' ' if is_glued and _is_word(unit.text[:1]) else '') + unit.space)
    parts.append(unit.text)
  return ''.join(parts) + rest


def _is_word(character):
  return character.isalnum() and not re.match(f'[{_CJK}]', character)


def count(rate, num_units, rng):
  """Returns how many of `num_units` a rate asks for; its mean is rate * num_units.

  The paper rounds down, to no less than one.
  """
  return int(rate * num_units + rng.random())


def synonyms(units, rate, rng, table):
  """Returns units with about `rate` of the words that have synonyms as one of them."""
  places = synonym_places(units, table)
  chosen = [place for place in places if rng.random() < rate]
  edited, done = [], 0
  for first, last in chosen:
    edited += units[done:first]
    edited.append(Unit(units[first].space, _synonym(units[first:last], rng, table)))
    done = last
  return edited + units[done:]


def random_insert(units, rate, rng, table):
  """Returns units with synonyms of some of them, at random places."""
  places = synonym_places(units, table)
  edited = list(units)
  for _ in range(count(rate, len(units), rng) if places else 0):
    first, last = places[rng.integers(len(places))]
    word = _core(_synonym(units[first:last], rng, table))[1]
    space = '' if re.match(f'[{_CJK}]', word) else ' '
    edited.insert(rng.integers(1, len(edited) + 1), Unit(space, word))
  return edited


def random_swap(units, rate, rng, table=None):
  """Returns units with pairs of them in each other's place."""
  texts = [unit.text for unit in units]
  for _ in range(count(rate, len(texts), rng) if len(texts) > 1 else 0):
    i, j = rng.choice(len(texts), 2, replace=False)
    texts[i], texts[j] = texts[j], texts[i]
  return [unit._replace(text=text) for unit, text in zip(units, texts, strict=True)]


def random_delete(units, rate, rng, table=None):
  """Returns units without `rate` of them, but with one at least."""
  keeps = rng.random(len(units)) >= rate
  kept = [unit for unit, keep in zip(units, keeps, strict=True) if keep]
  if units and not kept:
    kept = [units[rng.integers(len(units))]]
  return [kept[0]._replace(space=units[0].space), *kept[1:]] if kept else []


def synonym_places(units, table):
  """Returns [(first, last + 1)] of the units that a table has synonyms for.

  Characters make a word together: the longest one that the table has.
  """
  found, i = [], 0
  while i < len(units):
    end = next((n for n in _ends(units, i, table) if _known(units[i:n], table)), None)
    if end:
      found.append((i, end))
    i = end or i + 1
  return found


def _ends(units, first, table):
  """Returns where a word that begins at `first` may end, the furthest first."""
  end = first + 1
  while (
    end < len(units)
    and end - first < table.longest
    and not units[end].space
    and re.match(f'[{_CJK}]', units[end].text)
    and re.match(f'[{_CJK}]', units[first].text)
  ):
    end += 1
  return range(end, first, -1)


def _known(units, table):
  return table.of(_core(''.join(unit.text for unit in units))[1])


def _core(text):
  """Returns (what is before a word, the word, what is after it), such as quotes."""
  found = _CORE.match(text)
  assert found
  return found.groups()


def _synonym(units, rng, table):
  """Returns a synonym with the first letter's case and the punctuation of units."""
  before, word, after = _core(''.join(unit.text for unit in units))
  known = table.of(word)
  chosen = known[rng.integers(len(known))]
  if word[:1].isupper():
    chosen = chosen[0].upper() + chosen[1:]
  return before + chosen + after


EDITS = {
  'synonyms': synonyms,
  'insert': random_insert,
  'swap': random_swap,
  'delete': random_delete,
}
"""Name of its rate -> edit, in the order in which they are made."""
NEED_TABLE = ('synonyms', 'insert')
