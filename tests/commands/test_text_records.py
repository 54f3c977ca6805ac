"""Records of texts: their order, what stays of them, errors of the disk."""

import json

import pytest

from gpt_jax.commands.text_records import TextRecords
from gpt_jax.core.errors import StorageError


class Written:
  def __init__(self, text):
    self.text = text

  def to_dict(self):
    return {'text': self.text}


def test_records_written_before_an_interruption_stay(tmp_path, capsys):
  out = tmp_path / 'out.jsonl'
  with (
    pytest.raises(KeyboardInterrupt),
    TextRecords(out, ['a', 'b', 'c', 'd']) as file,
  ):
    for i in (1, 0, 3):
      file.write(i, [Written(f'text {i}')])
    raise KeyboardInterrupt
  lines = [json.loads(line) for line in out.read_text().splitlines()]
  assert lines == [{'prompt': 'a', 'text': 'text 0'}, {'prompt': 'b', 'text': 'text 1'}]
  assert f'{out}: 2 texts' in capsys.readouterr().err


def test_a_file_stays_until_there_is_a_record(tmp_path, capsys):
  out = tmp_path / 'out.jsonl'
  out.write_text('of before')
  with pytest.raises(ValueError), TextRecords(out, ['a']):
    raise ValueError
  assert out.read_text() == 'of before' and not capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(tmp_path):
  with (
    TextRecords(tmp_path, ['a']) as file,
    pytest.raises(StorageError, match='--out='),
  ):
    file.write(0, [Written('x')])
