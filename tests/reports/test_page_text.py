"""Words of a report: durations, numbers, paragraphs, where it comes from."""

import pytest

from gpt_jax.analysis import verdicts
from gpt_jax.reports import page_text, report
from tests.sweeps import fake_study


@pytest.mark.parametrize(
  'seconds, text',
  [
    (12.3, '12 s'),
    (99, '99 s'),
    (300, '5.0 min'),
    (7100, '118.3 min'),
    (9000, '2.5 h'),
  ],
)
def test_durations_have_the_unit_that_people_would_choose(seconds, text):
  assert page_text.duration(seconds) == text


@pytest.mark.parametrize(
  'value, text',
  [
    (0.123456, '0.1235'), (True, 'yes'), (None, '-'), ([1, 2.5], '1, 2.5'),
    ('nan', 'nan'), ({'a': 1, 'b': False}, 'a 1, b no'),
  ],
)  # fmt: skip
def test_numbers_of_rules_are_words(value, text):
  assert page_text.number(value) == text


def test_a_docstring_is_paragraphs_without_commands():
  text = 'One\nline.\n\n  x = 1\n  y = 2\n\nTwo.\n\n  gpt-jax sweep experiments/x.py\n'
  found = page_text.paragraphs(text)
  assert found == [(False, 'One line.'), (True, 'x = 1\ny = 2'), (False, 'Two.')]


def test_every_verdict_has_a_mark_of_its_own():
  known = {
    value for name, value in vars(verdicts).items()
    if name.isupper() and isinstance(value, str)
  }  # fmt: skip
  assert set(page_text.MARKS) == known
  assert len(set(page_text.MARKS.values())) == len(known)


def test_facts_name_commit_machine_and_time(tmp_path):
  made = report.make_report(fake_study.make(tmp_path, lambda point: 1.0))
  facts = dict(page_text.facts(made))
  assert facts['Commit'] == 'c0ffeec0ffee'
  assert facts['Machine'] == 'here: 1 JAX device on a CPU'
  assert facts['Time at work'] == '60 s'
  assert page_text.commands(made)[0] == 'gpt-jax sweep fake.py'
  fake_study.diverge(made.study.points[0])
  facts = dict(page_text.facts(report.make_report(made.study)))
  assert facts['Diverged'] == made.study.points[0].name
