"""Files that belong together line by line."""

import gzip

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import line_pairs

QUESTIONS = [
  {'goal': 'boil', 'sol1': 'heat', 'sol2': 'cool'},
  {'goal': 'dry', 'sol1': 'swim', 'sol2': 'wait'},
]


def test_lines_of_two_languages_are_pairs(write):
  paths = [
    write('a.en', 'One.\nTwo.\n'),
    write('a.de.gz', gzip.compress(b'Eins.\nZwei.')),
  ]
  found = list(line_pairs.read_parallel(paths, 'utf-8'))
  assert [record.values for record in found] == [
    {'source': 'One.', 'targets': ['Eins.']},
    {'source': 'Two.', 'targets': ['Zwei.']},
  ]
  assert found[1].place == f'{paths[0]}, line 2'


def test_questions_have_their_labels(write):
  paths = [write('a.jsonl', QUESTIONS), write('a.lst', '0\r\n1\r\n')]
  found = [record.values for record in line_pairs.read_piqa(paths, 'utf-8')]
  assert found == [
    {'prompt': 'boil', 'choices': ['heat', 'cool'], 'label': 0},
    {'prompt': 'dry', 'choices': ['swim', 'wait'], 'label': 1},
  ]


@pytest.mark.parametrize(
  'target, message',
  [
    ('Eins.\n', 'a.en: 2 lines, but .*a.de has 1; expected line n'),
    ('Eins.\n\n', 'a.de, line 2: is blank; expected a text. Delete this line in both'),
  ],
)
def test_files_that_do_not_belong_together_are_named(write, target, message):
  paths = [write('a.en', 'One.\nTwo.\n'), write('a.de', target)]
  with pytest.raises(DataError, match=message):
    list(line_pairs.read_parallel(paths, 'utf-8'))
  with pytest.raises(DataError, match=r'reader=parallel: 1 file\(s\) .*expected two'):
    list(line_pairs.read_parallel(paths[:1], 'utf-8'))


@pytest.mark.parametrize(
  'labels, message',
  [
    ('0\n', '2 questions, but .*a.lst has 1 labels'),
    ('0\n2\n', "line 2: '2'; expected 0"),
  ],
)
def test_labels_that_do_not_fit_are_named(write, labels, message):
  paths = [write('a.jsonl', QUESTIONS), write('a.lst', labels)]
  with pytest.raises(DataError, match=message):
    list(line_pairs.read_piqa(paths, 'utf-8'))
