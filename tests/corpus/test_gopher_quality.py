"""Each rule leaves out a text that breaks it alone."""

import pytest

from gpt_jax.corpus import gopher_quality
from tests.corpus import texts

PROSE = 'The cat sat with the dog and they have seen that it was good to be of use.'


@pytest.mark.parametrize(
  'text, reason',
  [
    (PROSE, None),
    ('', 'no words'),
    ('a of to ' * 9, 'short words'),
    (PROSE + ' x' + 'y' * 400, 'long words'),
    (PROSE + ' however # # #', 'many hash signs'),
    (PROSE + ' ... \u2026 ...', 'many ellipses'),
    (
      '\n'.join(f'- the {word} of animals' for word in PROSE.split()),
      'lines are a list',
    ),
    (f'{PROSE}\n{PROSE}\n{PROSE} so ...', 'lines end in ellipses'),
    (PROSE + ' 1234 1999 2000 1889 14:30', 'words without letters'),
    ('Eine Katze liegt neben einem Hund', 'no stop words'),
    ('The Katze liegt neben einem Hund with', None),
  ],
)
def test_each_rule_has_its_reason(text, reason):
  step = gopher_quality.make(gopher_quality.Options(), None)
  assert step.keep(texts.document(text)) == reason


def test_stop_words_can_be_switched_off():
  step = gopher_quality.make(gopher_quality.Options(min_stop_words=0), None)
  assert step.keep(texts.document('Eine Katze liegt neben einem Hund')) is None
