"""Personal data becomes labels, the same for any pieces; ordinary numbers stay."""

import logging
import random
import re

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.safety.redaction import ALL_KINDS, LogFilter, Redactor, print_error

EMAIL = 'a@b.org'
FOUND = [
  ('write to bob.o-neil+x@mail.example.co.uk.', 'write to [EMAIL].'),
  ('我的邮箱是ＡＢ＠ｓｏｈｕ．ｃｏｍ，谢谢', '我的邮箱是[EMAIL]，谢谢'),
  ('call +44 (0)20 7946 0958 now', 'call [PHONE] now'),
  ('0086-13912345678', '[PHONE]'),
  ('(415) 555-2671 or 1-415-555-2671', '[PHONE] or [PHONE]'),
  ('手机13912345678，１３９ １２３４ ５６７８', '手机[PHONE]，[PHONE]'),
  ('13912345678,13912345679', '[PHONE],[PHONE]'),
  ('座机(010) 6554-1234或0755-88888888', '座机[PHONE]或[PHONE]'),
  ('phone number: 555-1234', 'phone number: [PHONE]'),
  ('身份证11010519491231002X号', '身份证[RESIDENT_ID]号'),
  ('id 110105 19491231 002x.', 'id [RESIDENT_ID].'),
  ('身份证号：110105491231002', '身份证号：[RESIDENT_ID]'),
  ('SSN 536-90-4399, ssn: 536904399', 'SSN [SSN], ssn: [SSN]'),
  ('card 4111-1111-1111-1111 and 378282246310005', 'card [CARD] and [CARD]'),
  ('卡号４１１１　１１１１　１１１１　１１１１', '卡号[CARD]'),
  ('12 1234 4111 1111 1111 1111', '12 1234 [CARD]'),
  ('4111\u200b1111\u200b1111\u200b1111', '[CARD]'),
  ('GB82 WEST 1234 5698 7654 32 or de89370400440532013000', '[IBAN] or [IBAN]'),
  ('from 192.168.1.20:8080, 2001:db8::1', 'from [IP]:8080, [IP]'),
  ('ping 8.8.8.8', 'ping [IP]'),
]

ORDINARY = [
  'on 2021-05-03 at 12:30:45, 03/05/2021, 2021年5月3日',
  'version 1.2.3.4, v10.20.30.40, section 10.2.3.4, 3.1.4.2',
  'it costs $1,234,567.89 or 12345678901 yen, 1 000 000 000',
  'pi is 3.14159265358979323846',
  'ISBN 978-3-16-148410-0 and 9783161484100',
  'order 1234567812345670, 4111111111111112, 11010519491231002X1',
  'the sum 472547338 + 960397912423686 = 960398384971024',
  'std::add, a::b, 12:30, ratio 3:2:1',
  'user@host, a@b, @name, 50% @ 3 pm',
  '666-90-4399, 2010-11-1234',
  'GB83 WEST 1234 5698 7654 32',
  '共12345678901元，比分21:15',
]


@pytest.mark.parametrize('text, shown', FOUND)
def test_personal_data_becomes_labels(text, shown):
  assert Redactor().redact(text)[0] == shown


@pytest.mark.parametrize('text', ORDINARY)
def test_ordinary_numbers_stay(text):
  assert Redactor().redact(text) == (text, {})


def test_kinds_are_counted_and_can_be_chosen():
  text = 'a@b.org, c@d.org, 13912345678'
  assert Redactor().redact(text)[1] == {'email': 2, 'phone': 1}
  assert Redactor(['phone']).redact(text) == (
    'a@b.org, c@d.org, [PHONE]',
    {'phone': 1},
  )


def test_what_two_kinds_share_is_hidden_whole():
  shown, counts = Redactor().redact('tel 4111 1111 1111 1111')
  assert (shown, counts.total()) == ('tel [CARD]', 1)


def find_names(texts):
  pattern = re.compile('Anna Lee|李雷')
  return [[found.span() for found in pattern.finditer(text)] for text in texts]


def test_names_are_those_of_a_model():
  text = 'Anna Lee (a@b.org) met 李雷.'
  assert Redactor(find_names=find_names).redact(text) == (
    '[NAME] ([EMAIL]) met [NAME].',
    {'name': 2, 'email': 1},
  )


def test_names_without_a_model_are_refused():
  with pytest.raises(ConfigError, match='names are found by a model'):
    Redactor(['name'])


def test_an_unknown_kind_is_told_the_nearest():
  with pytest.raises(ConfigError, match="did you mean 'phone'"):
    Redactor(['fone'])


@pytest.mark.parametrize('seed', range(4))
def test_any_pieces_show_what_the_whole_text_shows(seed):
  rng = random.Random(seed)
  atoms = [word for text, _ in FOUND for word in re.findall(r'\w+|\W', text)]
  atoms += [text for text, _ in FOUND] + list(' -.,xX150@()+:/\n\u200b１，我a') * 2
  redactor = Redactor(find_names=find_names if seed % 2 else None)
  for _ in range(150):
    text = ''.join(rng.choice(atoms) for _ in range(rng.randint(1, 14)))
    stream, shown, place = redactor.stream(), '', 0
    longest = rng.choice((1, 3, 10))
    while place < len(text):
      count = rng.randint(0, longest)
      shown += stream.feed(text[place : place + count])
      place += count
    shown += stream.finish()
    assert (shown, stream.counts) == redactor.redact(text), text


@pytest.mark.parametrize(
  'text, shown',
  [
    ('Good morning ', 'Good morning '),
    ('Good morn', 'Good '),  # morn@... may follow
    ('我的电话是', '我的电话是'),
    ('我的电话是139', '我的电话是'),
    ('the year 2021, and', 'the year 2021, '),
    ('a' * 100, 'a' * 36),
  ],
)
def test_little_is_held_back(text, shown):
  stream = Redactor().stream()
  assert stream.feed(text) == shown
  assert shown + stream.finish() == text


def test_a_number_is_not_shown_before_it_is_complete():
  stream, text = Redactor().stream(), 'my card: 4111 1111 1111 1111!'
  assert ''.join(map(stream.feed, text)) + stream.finish() == 'my card: [CARD]!'


@pytest.mark.parametrize(
  'unit', ['a', '1', '1 ', 'a@', '4111 ', 'a.b@a.', ':', 'GB82 ', '+1', '1.', '0755']
)
def test_a_hostile_text_takes_a_time_of_its_length(unit):
  text = (unit * 300_000)[:300_000]  # quadratic, it would not end in an hour
  shown, counts = Redactor().redact(text)
  assert (shown == text) == (not counts)


def test_logs_are_redacted_with_their_arguments_and_errors():
  lines = []
  handler = logging.Handler()
  handler.emit = lambda record: lines.append(logging.Formatter().format(record))
  handler.addFilter(LogFilter())
  logger = logging.Logger('requests')
  logger.addHandler(handler)
  logger.info('from %s: %d', 'a@b.org', 3)
  try:
    raise ValueError('no such user: 13912345678')
  except ValueError:
    logger.exception('failed')
  assert lines[0] == 'from [EMAIL]: 3'
  assert '[PHONE]' in lines[1] and '13912345678' not in lines[1]


def test_errors_are_printed_without_personal_data(capsys):
  try:
    raise KeyError(EMAIL)
  except KeyError as error:
    print_error(error, 'request 1: ')
  said = capsys.readouterr().err
  assert said.startswith('request 1: Traceback')
  assert said.endswith("KeyError: '[EMAIL]'\n")


@pytest.mark.shared
def test_real_texts_raise_few_false_alarms(shared_data):
  text = (shared_data / 'hongloumeng_zh' / 'hongloumeng.txt').read_text()
  text += (shared_data / 'wikitext-2' / 'test.txt').read_text()
  text += (shared_data / 'tiny_shakespeare' / 'input.txt').read_text()
  assert Redactor().redact(text)[1] == {}


def test_all_kinds_are_shown_by_the_examples():
  labels = {
    label.lower() for _, shown in FOUND for label in re.findall(r'\w+(?=\])', shown)
  }
  assert {*labels, 'name'} == set(ALL_KINDS)
