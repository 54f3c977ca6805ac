"""SemEval-2010 task 8: spans stand where the tags were."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import semeval

TEXT = (
  '1\t"The <e1>company</e1> makes "plastic" <e2>chairs</e2>."\r\n'
  'Product-Producer(e2,e1)\r\nComment: (a)\r\n\r\n'
  '2\t"A <e2>hole</e2> by <e1>rain</e1>."\r\nOther\r\n\r\n'
)


def with_tags(values):
  """Returns the text with tags where the spans say."""
  text = values['text']
  marks = [('e1', values['head']), ('e2', values['tail'])]
  for name, (start, end) in sorted(marks, key=lambda mark: -mark[1][0]):
    text = f'{text[:start]}<{name}>{text[start:end]}</{name}>{text[end:]}'
  return text


def test_spans_put_back_give_the_sentence(write):
  one, two = semeval.read([write('a.TXT', TEXT)], 'utf-8')
  assert with_tags(one.values) == TEXT[3 : TEXT.index('"\r\n')]
  assert one.values['label'] == 'Product-Producer(e2,e1)' and one.values['id'] == '1'
  start, end = two.values['head']
  assert two.values['text'][start:end] == 'rain'
  assert two.values['label'] == 'Other' and two.place.endswith('a.TXT, line 5')


@pytest.mark.parametrize(
  'old, new, message',
  [
    ('1\t', 'one ', 'line 1: .*expected a number, a tab and a sentence'),
    ('</e1>', '', 'line 1: expected <e1> and </e1> once each'),
    ('<e1>company</e1>', '<e1></e1>', 'line 1: expected <e1>'),
    ('Product-Producer', 'Product', 'line 2: .*expected a relation, Other or as'),
    ('\r\nOther', '', 'line 5: no line with a relation follows'),
    ('Comment: (a)\r\n', '2\t"A"\r\n', 'line 3: .*expected a comment, or a blank line'),
  ],
)
def test_blocks_of_another_form_are_named(write, old, new, message):
  path = write('a.TXT', TEXT.replace(old, new, 1))
  with pytest.raises(DataError, match=message):
    list(semeval.read([path], 'utf-8'))
