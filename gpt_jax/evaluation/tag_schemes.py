"""Tags of words: IOB1, IOB2, BIOES, BMES and BILOU, all turned into IOB2.

A tag is O (outside), or a letter and a type, as B-PER; the letter alone where there is
one type only, as in word segmentation.
"""

from gpt_jax.core.errors import DataError

LETTERS = {'B': 'B', 'I': 'I', 'M': 'I', 'E': 'E', 'L': 'E', 'S': 'S', 'U': 'S'}
"""Letters of all schemes -> that of BIOES with the same meaning."""


def to_iob2(tags):
  """Returns the IOB2 tags of one sequence in any of the schemes.

  In IOB2 the first word of an entity has B, the others I. A sequence without E, L, M, S
  and U is read as IOB1, which contains IOB2: an entity also begins at an I that follows
  O or another type. Others have to be whole: B, then I or M, ends with E or L; S or U
  is an entity of one word. Raises DataError, with the position, where they are not.
  """
  parsed = [parse(tag, place) for place, tag in enumerate(tags)]
  letters = {letter for letter, _ in parsed}
  if letters & set('ELMSU'):
    _require_whole(tags, parsed)
  converted, before = [], None
  for letter, kind in parsed:
    if letter == 'O':
      converted.append('O')
      before = None
      continue
    continues = LETTERS[letter] in 'IE' and before == kind
    converted.append(('I' if continues else 'B') + (f'-{kind}' if kind else ''))
    before = kind
  return converted


def parse(tag, place=0):
  """Returns (letter, type) of a `tag`, the type '' for O or where it has none.

  Raises DataError, naming the `place` in the sequence, when it is none of the schemes.
  """
  letter, dash, kind = str(tag).partition('-')
  is_tag = letter in LETTERS and bool(dash) == bool(kind)
  if tag != 'O' and not is_tag:
    raise DataError(
      f'tag {place} is {tag!r}: expected O, or one of {" ".join(LETTERS)} with a type,'
      ' as B-PER.'
    )
  return letter, kind


def require_iob2(tags, where):
  """Raises DataError unless `tags` are a valid IOB2 sequence; `where` names it."""
  before = None
  for place, tag in enumerate(tags):
    letter, kind = parse(tag, place)
    if letter not in 'OBI' or (letter == 'I' and before != kind):
      after = repr(tags[place - 1]) if place else 'the start'
      raise DataError(
        f'{where}: tag {place} is {tag!r} after {after}, which is no IOB2; convert the'
        ' tags with to_iob2.'
      )
    before = None if letter == 'O' else kind


def _require_whole(tags, parsed):
  """Raises DataError where BIOES, BMES or BILOU tags begin or end no entity."""
  open_kind = None  # the type of the entity that a B has begun
  for place, (letter, kind) in enumerate([*parsed, ('O', '')]):
    meaning = LETTERS.get(letter, 'O')
    fits = open_kind == kind if meaning in 'IE' else open_kind is None
    if not fits:
      tag = f'tag {place} is {tags[place]!r}' if place < len(tags) else 'its tags end'
      before = f'after {tags[place - 1]!r}' if place else 'at the start'
      raise DataError(
        f'{tag} {before}: a sequence with E, L, M, S or U is read as BIOES, BMES or'
        ' BILOU: B begins an entity, E or L ends it, S or U is one of one word.'
      )
    if meaning == 'B':
      open_kind = kind
    elif meaning == 'E':
      open_kind = None
