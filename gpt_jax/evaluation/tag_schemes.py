"""Tags of words: IOB1, IOB2, BIOES, BMES and BILOU, all turned into IOB2.

A tag is O (outside), or a letter and a type, as B-PER; the letter alone where there is
one type only, as in word segmentation.
"""

from gpt_jax.core.errors import DataError

LETTERS = {'B': 'B', 'I': 'I', 'M': 'I', 'E': 'E', 'L': 'E', 'S': 'S', 'U': 'S'}
"""Letters of all schemes -> that of BIOES with the same meaning."""


def to_iob2(tags, where='tag {}'.format):
  """Returns the IOB2 tags of one sequence in any of the schemes.

  In IOB2 the first word of an entity has B, the others I. A sequence without E, L, M, S
  and U is read as IOB1, which contains IOB2: an entity also begins at an I that follows
  O or another type. In others an entity is B, then I or M, then E or L, and S or U if
  it has one word; the ends of the sequence may cut it. Raises DataError where it is
  not; `where`: position of a tag, from 0 -> what the message calls it.
  """
  parsed = [parse(tag, where(place)) for place, tag in enumerate(tags)]
  letters = {letter for letter, _ in parsed}
  if letters & set('ELMSU'):
    _require_whole(tags, parsed, where)
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


def parse(tag, where):
  """Returns (letter, type) of a `tag`, the type '' for O or where it has none.

  Raises DataError, naming `where` it stands, when it is of no scheme.
  """
  letter, dash, kind = str(tag).partition('-')
  is_tag = letter in LETTERS and bool(dash) == bool(kind)
  if tag != 'O' and not is_tag:
    raise DataError(
      f'{where} is {tag!r}: expected O, or one of {" ".join(LETTERS)} with a type,'
      ' as B-PER.'
    )
  return letter, kind


def require_iob2(tags, where):
  """Raises DataError unless `tags` are a valid IOB2 sequence; `where` names it."""
  before = None
  for place, tag in enumerate(tags):
    letter, kind = parse(tag, f'{where}: tag {place}')
    if letter not in 'OBI' or (letter == 'I' and before != kind):
      after = repr(tags[place - 1]) if place else 'the start'
      raise DataError(
        f'{where}: tag {place} is {tag!r} after {after}, which is no IOB2; convert the'
        ' tags with to_iob2.'
      )
    before = None if letter == 'O' else kind


def _require_whole(tags, parsed, where):
  """Raises DataError where BIOES, BMES or BILOU tags begin or end no entity."""
  # A text that was cut into sequences may be cut inside an entity.
  is_cut = bool(parsed) and LETTERS.get(parsed[0][0], 'O') in 'IE'
  open_kind = parsed[0][1] if is_cut else None  # the type of the entity that goes on
  for place, (letter, kind) in enumerate(parsed):
    meaning = LETTERS.get(letter, 'O')
    fits = open_kind == kind if meaning in 'IE' else open_kind is None
    if not fits:
      raise DataError(
        f'{where(place)} is {tags[place]!r} after {tags[place - 1]!r}: a sequence with'
        ' E, L, M, S or U is read as BIOES, BMES or BILOU: B begins an entity, E or L'
        ' ends it, S or U is one of one word.'
      )
    if meaning == 'B':
      open_kind = kind
    elif meaning == 'E':
      open_kind = None
