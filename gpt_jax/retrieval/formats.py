"""Formats of documents: from the text of a file to sections with headings.

A new format is a function `(text, place) -> [Section]` in FORMATS.
"""

import dataclasses
import json
import re

from gpt_jax.core.errors import DataError
from gpt_jax.retrieval import html_text

SEPARATOR = ' > '
"""Between a heading and those that it stands under."""
_ATX = re.compile(r' {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$')
_UNDERLINE = re.compile(r' {0,3}(=+|-{2,})[ \t]*$')
_FENCE = re.compile(r' {0,3}(```+|~~~+)')


@dataclasses.dataclass(frozen=True)
class Section:
  """What stands under one heading, up to the next."""

  heading: str  # with those above it: 'Orders > Returns'; '' before the first
  paragraphs: tuple[str, ...]


def plain(text, place):
  """Returns one section; empty lines divide paragraphs."""
  del place
  return _sections([(0, part) for part in _paragraphs(text)])


def markdown(text, place):
  """Returns the sections of a Markdown file; a fence of code is one paragraph."""
  del place
  blocks: list[tuple[int, str]] = []
  lines: list[str] = []
  fence = ''

  def end_paragraph():
    blocks.extend((0, part) for part in _paragraphs('\n'.join(lines)))
    lines.clear()

  for line in text.splitlines():
    mark = _FENCE.match(line)
    if fence or mark:
      lines.append(line)
      if not fence and mark:
        fence = mark[1]
      elif mark and line.strip() == mark[1] and mark[1].startswith(fence):
        fence = ''
        blocks.append((0, '\n'.join(lines).strip()))
        lines.clear()
    elif atx := _ATX.match(line):
      end_paragraph()
      blocks.append((len(atx[1]), atx[2]))
    elif lines and lines[-1].strip() and (under := _UNDERLINE.match(line)):
      heading = lines.pop().strip()
      end_paragraph()
      blocks.append((1 if under[1][0] == '=' else 2, heading))
    else:
      lines.append(line)
  end_paragraph()
  return _sections(blocks)


def html(text, place):
  """Returns the sections of a page; scripts and styles are left out."""
  del place
  return _sections(html_text.blocks(text))


def json_lines(text, place):
  """Returns a section for each line, an object with `text` and, if so, `title`."""
  sections = []
  for number, line in enumerate(text.splitlines(), start=1):
    if not line.strip():
      continue
    try:
      found = json.loads(line)
      body, title = found['text'], found.get('title') or ''
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
      raise DataError(
        f"{place}, line {number}: expected a JSON object with the field 'text' (and"
        f" 'title' if there is one), not {line[:60]!r}."
      ) from error
    if not isinstance(body, str) or not isinstance(title, str):
      raise DataError(
        f"{place}, line {number}: 'text' and 'title' have to be texts, not"
        f' {str(body if not isinstance(body, str) else title)[:60]!r}.'
      )
    sections.append(Section(title.strip(), tuple(_paragraphs(body))))
  return sections


def squad(text, place):
  """Returns a section for each article of a file in SQuAD's layout, by its title."""
  try:
    return [
      Section(
        str(article['title']),
        tuple(str(one['context']).strip() for one in article['paragraphs']),
      )
      for article in json.loads(text)['data']
    ]
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise DataError(
      f"{place}: of .json files those in SQuAD's layout are read ('data' > 'paragraphs'"
      " > 'context'); write others as .jsonl, an object with 'text' a line."
    ) from error


FORMATS = {
  '.txt': plain,
  '.md': markdown,
  '.markdown': markdown,
  '.html': html,
  '.htm': html,
  '.jsonl': json_lines,
  '.json': squad,
}
"""Ending of a file's name -> its format."""


def _paragraphs(text):
  parts = re.split(r'\n[ \t]*\n', text.replace('\r\n', '\n'))
  return [part.strip() for part in parts if part.strip()]


def _sections(blocks):
  """Returns the Sections of (level, text), each heading with those above it."""
  sections, paragraphs = [], []
  above: list[tuple[int, str]] = []

  def end_section():
    if paragraphs:
      heading = SEPARATOR.join(text for _, text in above)
      sections.append(Section(heading, tuple(paragraphs)))
      paragraphs.clear()

  for level, text in blocks:
    if not level:
      paragraphs.append(text)
      continue
    end_section()
    above = [one for one in above if one[0] < level] + [(level, text)]
  end_section()
  return sections
