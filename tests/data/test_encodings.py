"""Texts that are not UTF-8: decoding, refusals, and what is suggested instead."""

import codecs
import gzip
import json
import tracemalloc

import pytest

from configs import base
from gpt_jax import data as sources
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import encoding_guess, encodings, files
from gpt_jax.program import setup
from tests.data.test_sources import write_array_records

CHINESE = '红楼梦第一回：甄士隐梦幻识通灵，贾雨村风尘怀闺秀。\n此开卷第一回也。\n'
JAPANESE = '吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n'
KOREAN = '모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.\n'
RUSSIAN = 'Все люди рождаются свободными и равными в своём достоинстве и правах.\n'
GERMAN = 'Ein schöner Tag für Bücher – größer als „Müller“, naïve cafés.\n'
TEXTS = {
  'gb18030': CHINESE,
  'big5': '紅樓夢第一回：甄士隱夢幻識通靈，賈雨村風塵懷閨秀。\n',
  'shift_jis': JAPANESE,
  'euc_jp': JAPANESE,
  'euc_kr': KOREAN,
  'cp1251': RUSSIAN,
  'koi8-r': RUSSIAN.replace('–', '-'),
  'cp1252': GERMAN,
  'utf-16': CHINESE,
  'utf-32': CHINESE,
  'utf-16-le': 'plain English, an accent: naïve\n',
  'utf-16-be': CHINESE,
}


def config(**fields):
  named = {f'data.{name}': value for name, value in fields.items()}
  return load.resolve(base.get_config(), {'data.split': 'all'} | named).data


def texts(**fields):
  source = sources.make_source(config(**fields))
  return [source[i]['text'] for i in range(len(source))]


@pytest.mark.parametrize('encoding', sorted(TEXTS))
def test_any_encoding_gives_the_same_text(encoding, tmp_path):
  text = TEXTS[encoding] * 3
  (tmp_path / 'a.txt').write_bytes(text.encode(encoding))
  (tmp_path / 'b.txt.gz').write_bytes(gzip.compress(text.encode(encoding)))
  line = json.dumps({'text': text}, ensure_ascii=False) + '\n'
  (tmp_path / 'a.jsonl').write_bytes((line * 2).encode(encoding))
  write_array_records(tmp_path / 'a.array_record', [line.encode(encoding)])
  here = dict(path=str(tmp_path), encoding=encoding)
  for source in ('text', 'jsonl', 'array_record'):
    assert set(texts(source=source, **here)) == {text}


@pytest.mark.parametrize('encoding', sorted(TEXTS))
def test_what_is_not_utf8_is_refused_with_its_encoding(encoding, tmp_path):
  (tmp_path / 'a.txt').write_bytes((TEXTS[encoding] * 3).encode(encoding))
  with pytest.raises(DataError, match=r'a\.txt.* not UTF-8') as found:
    texts(source='text', path=str(tmp_path))
  assert f'set data.encoding={encoding}' in str(found.value)
  start = encoding_guess.excerpt(TEXTS[encoding])[:8].strip()
  assert start in str(found.value)  # the text that it would be


def test_a_late_error_is_told_from_the_text_around_it(tmp_path):
  content = b'plain words ' * 20_000 + CHINESE.encode('gbk') * 5
  with pytest.raises(DataError, match='byte 240000 .*gb18030') as found:
    raise encodings.not_utf8('a.txt', 240_000, 'bad', content)
  assert '红楼梦' in str(found.value)


def test_bytes_outside_the_encoding_are_located(tmp_path, monkeypatch):
  monkeypatch.setattr(files, '_BLOCK', 7)  # characters cross blocks
  content = CHINESE.encode('gbk')
  (tmp_path / 'a.txt').write_bytes(content)
  here = dict(source='text', path=str(tmp_path), encoding='gbk')
  assert texts(**here) == [CHINESE]
  (tmp_path / 'a.txt').write_bytes(content + b'\xff\xff')
  with pytest.raises(DataError, match=f"byte {len(content)} is not .*'gbk'"):
    texts(**here)
  assert sources.make_source(config(**here, max_corrupt_records=1))[0]['text'] == ''


def test_transcoding_needs_little_memory(tmp_path):
  (tmp_path / 'a.txt').write_bytes(CHINESE.encode('gbk') * 60_000)  # 5 MB
  tracemalloc.start()
  content = files.read_utf8(tmp_path / 'a.txt', 'gbk')
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert len(content) == len(CHINESE.encode()) * 60_000 and peak < 6e6


@pytest.mark.parametrize(
  'name, hint', [('utf-9', "mean 'utf-"), ('gb1803', "mean 'gb18030'"), ('rot13', '')]
)
def test_unknown_encodings_are_refused_by_name(name, hint, tmp_path):
  with pytest.raises(ConfigError, match=f'data.encoding=.*text encoding.*{hint}'):
    setup.resolve(base.get_config(), {'data.encoding': name})
  (tmp_path / 'a.txt').write_text('text')
  for source in ('text', 'jsonl', 'array_record'):
    with pytest.raises(ConfigError, match='data.encoding='):  # of an evaluation set
      sources.make_source(config(source=source, path=str(tmp_path), encoding=name))


def test_the_fingerprint_names_other_encodings_alone(tmp_path):
  (tmp_path / 'a.txt').write_text('plain')
  here = dict(source='text', path=str(tmp_path))
  usual = sources.make_source(config(**here)).fingerprint
  assert 'encoding' not in usual
  for same in ('UTF-8', 'utf8', 'U8'):
    assert sources.make_source(config(**here, encoding=same)).fingerprint == usual
  latin = sources.make_source(config(**here, encoding='latin1')).fingerprint
  assert latin == usual | {'encoding': 'iso8859-1'}
  assert latin == sources.make_source(config(**here, encoding='L1')).fingerprint


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
  line = b'{"text": "one"}\n'
  (tmp_path / 'a.jsonl').write_bytes(codecs.BOM_UTF8 + line)
  (tmp_path / 'a.txt').write_bytes(codecs.BOM_UTF8 + b'one')
  for source in ('text', 'jsonl'):
    assert texts(source=source, path=str(tmp_path)) == ['one']


def test_a_warning_is_printed_once(tmp_path, caplog):
  (tmp_path / 'a.txt').write_text('good')
  (tmp_path / 'b.txt').write_bytes(b'\xff')
  for split in ('train', 'validation', 'all'):
    data = config(source='text', path=str(tmp_path), split=split, max_corrupt_records=2)
    source = sources.make_source(data)
    assert len([source[i] for i in range(len(source))]) == 2
  assert caplog.text.count('b.txt: byte 0 is not UTF-8') == 1


def test_the_first_error_is_found_across_blocks(monkeypatch):
  monkeypatch.setattr(encodings, '_BLOCK', 5)
  content = CHINESE.encode()
  assert encodings.first_error(content) is None
  assert encodings.first_error(b'') is None
  for cut in range(1, 40):
    part = content[:cut] + b'\xff'
    with pytest.raises(UnicodeDecodeError) as expected:
      part.decode()
    error = expected.value
    assert encodings.first_error(part) == (error.start, error.reason)


def test_half_characters_and_bytes_of_a_command_line_are_named():
  with pytest.raises(DataError, match=r'prompt has half .*ud83d\) at position 2'):
    encodings.encode('ab\ud83d', 'prompt')
  with pytest.raises(DataError, match=r'not UTF-8 \(0xE9\) at position 3'):
    encodings.encode('caf\udce9', 'prompt')
