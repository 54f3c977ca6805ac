"""SemEval-2010 task 8: the relation between two nominals of a sentence.

Hendrickx et al., 2010 (aclanthology.org/S10-1006).
"""

import re

from gpt_jax.core.errors import DataError
from gpt_jax.examples import content
from gpt_jax.examples.record import Record, shown

_SENTENCE = re.compile(r'(\d+)\t"?(.*?)"?\s*')
_RELATION = re.compile(r'Other|[A-Z]\w*-[A-Z]\w*\((e1,e2|e2,e1)\)')
_TAG = re.compile(r'</?e[12]>')


def read(paths, encoding):
  """Yields {'id', 'text', 'head', 'tail', 'label'} of TRAIN_FILE and TEST_FILE_FULL.

  `text` has no tags; `head` and `tail` are the (start, end) of e1 and e2 in it, in
  characters, end exclusive; `label` is as `Cause-Effect(e1,e2)`. Comments are left out.
  """
  for path in paths:
    block = []
    for number, line in enumerate([*content.lines(path, encoding), ''], start=1):
      if line.strip():
        block.append((f'{path}, line {number}', line))
      elif block:
        yield _record(block)
        block = []


def _record(block):
  place, sentence = block[0]
  match = _SENTENCE.fullmatch(sentence)
  if match is None:
    raise DataError(
      f'{place}: {shown(sentence)}; expected a number, a tab and a sentence in quotes.'
    )
  text, spans = _without_tags(match[2], place)
  if len(block) < 2:
    raise DataError(
      f'{place}: no line with a relation follows; expected one, as in TRAIN_FILE.TXT'
      ' and TEST_FILE_FULL.TXT.'
    )
  where, label = block[1][0], block[1][1].strip()
  if not _RELATION.fullmatch(label):
    raise DataError(
      f'{where}: {shown(label)}; expected a relation, Other or as Cause-Effect(e1,e2).'
    )
  for extra, line in block[2:]:
    if not line.startswith('Comment'):
      raise DataError(
        f'{extra}: {shown(line)}; expected a comment, or a blank line before the next'
        ' sentence.'
      )
  values = {'id': match[1], 'text': text, 'head': spans['e1'], 'tail': spans['e2']}
  return Record(values | {'label': label}, place)


def _without_tags(tagged, place):
  """Returns (text, {'e1': (start, end), 'e2': (start, end)})."""
  text, at, end = '', {}, 0
  for tag in _TAG.finditer(tagged):
    text += tagged[end : tag.start()]
    at.setdefault(tag[0], []).append(len(text))
    end = tag.end()
  text += tagged[end:]
  spans = {}
  for name in ('e1', 'e2'):
    starts, ends = at.get(f'<{name}>', []), at.get(f'</{name}>', [])
    if len(starts) != 1 or len(ends) != 1 or starts >= ends:
      raise DataError(
        f'{place}: expected <{name}> and </{name}> once each, around some text:'
        f' {shown(tagged, 200)}. Mend the sentence.'
      )
    spans[name] = (starts[0], ends[0])
  return text, spans
