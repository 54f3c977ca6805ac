"""What is wrong with an experiment: all of it in one message, each said once."""

import dataclasses
import re

MAX_LISTED = 30


@dataclasses.dataclass(frozen=True)
class Mistake:
  """One thing that is wrong, and where to look for it in the file."""

  text: str
  # String constants or names that stand in the file, the last one on the line meant.
  anchors: tuple[str, ...] = ()
  line: int | None = None  # where it is known


class PointMistakes:
  """Problems of points, collected so that the same one of many is told once."""

  def __init__(self, num_points):
    self._num_points = num_points
    self._found = {}  # text -> (anchors of the first, names of points)

  def add(self, name, text, *anchors):
    _, names = self._found.setdefault(text.rstrip('.'), (anchors, []))
    if name not in names[-1:]:
      names.append(name)

  def add_config_error(self, name, error, overrides, row, of_row):
    """Adds each problem that `error` lists.

    `overrides` are those of the point, `of_row` the fields that its row states.
    """
    lines = str(error).splitlines()
    if len(lines) > 1 and re.match(r'\d+ problem\(s\) in the config:', lines[0]):
      lines = [line.strip() for line in lines[1:]]
    for line in lines:
      mentioned = [field for field in overrides if field in line]
      own = [field for field in mentioned if field in of_row]
      first = [field for field in mentioned if line.startswith(field)]
      if not mentioned:  # a section that is misspelt
        section = line.partition(':')[0]
        first = [field for field in overrides if field.startswith(f'{section}.')]
      if own:
        self.add(name, line, row, max(own, key=len))
      else:
        field = max(first or mentioned or [''], key=len)
        self.add(name, line, *(('seeds', 'seed') if field == 'seed' else (field,)))

  def listed(self):
    """Returns the Mistakes, at most MAX_LISTED of them and the number of the rest."""
    found = [
      Mistake(self._tell(text, names), anchors)
      for text, (anchors, names) in self._found.items()
    ]
    rest = found[MAX_LISTED:]
    more = [Mistake(f'and {len(rest)} more of this kind')] if rest else []
    return found[:MAX_LISTED] + more

  def _tell(self, text, names):
    if len(names) == 1:
      return f'{text} (point {names[0]})'
    return f'{text} ({len(names)} of {self._num_points} points, such as {names[0]})'
