"""gpt-jax redact cleans texts and JSON lines, and says what is wrong."""

import io
import json
import sys

import pytest

from gpt_jax import cli


def redact(source, out, *flags):
  return cli.main(['redact', f'--input={source}', f'--out={out}', *flags])


def test_a_text_is_cleaned_and_counted(tmp_path, capsys):
  source, out = tmp_path / 'a.log', tmp_path / 'b.log'
  source.write_bytes('a@b.org\r\n电话13912345678\n'.encode())
  assert redact(source, out, '--json') == 0
  assert out.read_bytes().decode() == '[EMAIL]\r\n电话[PHONE]\n'
  said = capsys.readouterr()
  assert json.loads(said.out) == {'email': 1, 'phone': 1}
  assert 'replaced 1 email, 1 phone' in said.err
  assert [path.name for path in tmp_path.iterdir() if 'partial' in path.name] == []


def test_texts_of_json_lines_are_cleaned_wherever_they_stand(tmp_path):
  source, out = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
  record = {'a': ['a@b.org', 13912345678], 'b@c.org': {'d': 'e@f.org', 'g': None}}
  source.write_text(json.dumps(record) + '\n\n')
  assert redact(source, out) == 0
  assert json.loads(out.read_text()) == {
    'a': ['[EMAIL]', 13912345678], 'b@c.org': {'d': '[EMAIL]', 'g': None},
  }  # fmt: skip


def test_fields_and_kinds_can_be_chosen(tmp_path):
  source, out = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
  source.write_text(json.dumps({'a': 'a@b.org 13912345678', 'b': 'c@d.org'}) + '\n')
  assert redact(source, out, '--fields=a', '--kinds=email') == 0
  assert json.loads(out.read_text()) == {'a': '[EMAIL] 13912345678', 'b': 'c@d.org'}


def test_what_is_not_replaced_keeps_its_bytes(tmp_path):
  source, out = tmp_path / 'a.jsonl', tmp_path / 'b.jsonl'
  lines = (
    '\ufeff{"b":"c@d.org \\u00e9" ,"n":1.50e3, "a": "%s"}\r\n\n',
    '{"a": ["%s"],  "b": "\\ud800"}',
  )
  source.write_bytes((lines[0] % 'é a@b.org' + lines[1] % 'a@b.org').encode())
  assert redact(source, out, '--fields=a') == 0
  assert out.read_bytes() == (lines[0] % 'é [EMAIL]' + lines[1] % '[EMAIL]').encode()


def test_a_json_file_stays_json(tmp_path, capsys):
  source, out = tmp_path / 'a.json', tmp_path / 'b.json'
  records = [{'a': 'line\n13912345678', 'n': 13912345678}, {'a': '', 'b': 'a@b.org'}]
  source.write_text(json.dumps(records, indent=1))
  assert redact(source, out) == 0
  records[0]['a'], records[1]['b'] = 'line\n[PHONE]', '[EMAIL]'
  assert out.read_text() == json.dumps(records, indent=1)
  source.write_text('{"a": 1}\n{"a": 2}\n')
  assert redact(source, out) == 3
  assert 'is it JSON lines? Then name it .jsonl' in capsys.readouterr().err


def test_standard_input_and_output_can_be_used(monkeypatch, capsys):
  monkeypatch.setattr(sys, 'stdin', io.StringIO('mail a@b.org'))
  assert redact('-', '-') == 0
  assert capsys.readouterr().out == 'mail [EMAIL]'


@pytest.mark.parametrize(
  'name, content, flags, code, message',
  [
    ('a.txt', 'x', ['--kinds=fone'], 2, "did you mean 'phone'"),
    ('a.txt', 'x', ['--kinds=name'], 2, 'names are found by a model'),
    ('a.txt', 'x', ['--fields=a'], 2, 'only a file of .jsonl or .json has'),
    ('a.txt', '\udcff', [], 3, 'is not UTF-8'),
    ('a.jsonl', '{"a": 1}\n{"a":', [], 3, 'a.jsonl, line 2: no JSON'),
    ('a.jsonl', '{"a": 1}\n', ['--fields=b'], 3, "no record has the field 'b'"),
    ('a.jsonl', '[' * 10**5, [], 3, 'line 1: lists within lists'),
    ('a.jsonl', '[1]\n', ['--fields=b'], 3, 'line 1: expected an object'),
  ],
)
def test_what_is_wrong_is_said(tmp_path, capsys, name, content, flags, code, message):
  source, out = tmp_path / name, tmp_path / 'out.txt'
  source.write_text(content, errors='surrogateescape')
  assert redact(source, out, *flags) == code
  assert message in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_not_written_over_itself(tmp_path, capsys):
  source = tmp_path / 'a.txt'
  source.write_text('a@b.org')
  assert redact(source, source) == 2
  assert 'is the input' in capsys.readouterr().err
  assert redact(tmp_path / 'none.txt', tmp_path / 'b.txt') == 3
  assert redact(source, tmp_path / 'none' / 'b.txt') == 5
