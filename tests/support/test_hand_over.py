"""When a person takes over, and what they get."""

import datetime
import json
import stat

import pytest

from gpt_jax.core.errors import ConfigError, StorageError
from gpt_jax.support import hand_over
from gpt_jax.support.hand_over import Rules


def test_anger_and_doubt_are_reasons():
  rules = Rules(anger_of=lambda message: 0.95 if 'awful' in message else 0.1)
  assert rules.reason_angry('awful') == 'the customer is angry'
  assert rules.reason_angry('fine') == ''
  assert Rules().reason_angry('awful') == ''
  assert [bool(rules.reason_unsure(n)) for n in (0, 1, 2)] == [False, False, True]


def test_a_transcript_is_redacted_and_private(tmp_path):
  now = datetime.datetime(2030, 1, 2, 3, 4, 5)
  path = hand_over.transcript_path(tmp_path / 'new', now)
  assert path.name.startswith('20300102-030405-')
  turns = [dict(message='I am Bob', citations=[dict(quote='Bob')], confidence=0.5)]
  hand_over.write_transcript(path, turns, 'why', lambda text: text.replace('Bob', '*'))
  hand_over.write_transcript(path, turns, 'why', lambda text: text.replace('Bob', '*'))
  record = json.loads(path.read_text())
  assert record == dict(
    reason='why',
    turns=[dict(message='I am *', citations=[dict(quote='*')], confidence=0.5)],
  )
  assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('x')
  path = hand_over.transcript_path(tmp_path / 'file')
  with pytest.raises(StorageError, match='--transcripts='):
    hand_over.write_transcript(path, [], 'why', str)


class Classifier:
  """A Run of a fine-tuned classifier, as far as it is used."""

  def __init__(self, name='classification'):
    self.predictor = self
    self.task = self
    self.name, self.label_names = name, ('bad', 'good')

  def predict(self, message):
    if len(message) > 20:
      return None  # dropped
    bad = 0.9 if 'bad' in message else 0.2
    return dict(probabilities=dict(bad=bad, good=1 - bad))


def test_anger_is_the_probability_of_a_class():
  assert hand_over.anger_by(Classifier(), 'bad')('a bad day') == 0.9
  assert hand_over.anger_by(Classifier(), 'bad')('a bad day' * 9) == 0
  with pytest.raises(
    ConfigError, match="angry_label='angry': expected one of bad, good"
  ):
    hand_over.anger_by(Classifier(), 'angry')
  with pytest.raises(ConfigError, match="name='qa'; expected classification"):
    hand_over.anger_by(Classifier('qa'), 'bad')
