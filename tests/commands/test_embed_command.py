"""`gpt-jax embed`: cosines on the screen, vectors in a file."""

import io
import json
import sys
import types

import numpy as np
import pytest

from gpt_jax import cli


def embed(run, capsys, *flags, code=0):
  """Returns what the command writes on the screen."""
  assert cli.main(['embed', f'--workdir={run}', *map(str, flags)]) == code
  out, err = capsys.readouterr()
  return err if code else out


@pytest.fixture
def sentences(tmp_path):
  path = tmp_path / 'sentences.txt'
  path.write_text('some words\n\nother words\nsome words\n')
  return path


def test_cosines_of_texts_are_shown(finished_run, capsys):
  texts = ['--text=some words', '--text=other text', '--text=some words']
  out = embed(finished_run, capsys, *texts, '--json')
  *table, last = out.splitlines()
  rows = [line.split()[-3:] for line in table if 'words' in line]
  assert [row[0] for row in rows] == ['1.000', '1.000'] and rows[0] == rows[1]
  found = json.loads(last)
  assert found['texts'][1] == 'other text'
  vectors = np.array(found['vectors'])
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


@pytest.mark.slow
def test_vectors_go_to_a_file_in_two_forms(finished_run, sentences, tmp_path, capsys):
  out = embed(finished_run, capsys, sentences, f'--out={tmp_path / "v.npy"}', '--raw')
  assert 'wrote 3 vectors of' in out
  vectors = np.load(tmp_path / 'v.npy')
  assert vectors.dtype == np.float32 and not np.allclose(
    np.linalg.norm(vectors), 3**0.5
  )
  embed(finished_run, capsys, sentences, f'--out={tmp_path / "v.jsonl"}', '--raw')
  lines = [json.loads(line) for line in open(tmp_path / 'v.jsonl')]
  assert [line['text'] for line in lines] == ['some words', 'other words', 'some words']
  np.testing.assert_allclose([line['vector'] for line in lines], vectors, rtol=1e-6)
  again = embed(finished_run, capsys, tmp_path / 'v.jsonl', '--json')
  assert json.loads(again.splitlines()[-1])['texts'][1] == 'other words'


@pytest.mark.slow
def test_of_many_texts_the_nearest_pairs_are_shown(finished_run, capsys, monkeypatch):
  lines = '\n'.join(f'{"word " * (i % 7)}{i}' for i in range(12)) + '\nword 1\nword 1'
  stdin = types.SimpleNamespace(buffer=io.BytesIO(lines.encode()))
  monkeypatch.setattr(sys, 'stdin', stdin)
  out = embed(finished_run, capsys, '-')
  assert 'most alike of 14 texts' in out
  best = next(line for line in out.splitlines() if '1.000' in line)
  assert best.count('word 1') == 2


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    ([], 2, 'give FILE, or --text'),
    (['{s}', '--text=a'], 2, 'not both'),
    (['{s}', '--out=x.txt'], 2, 'expected a name in .npy or .jsonl'),
    (['{s}.no'], 3, 'cannot be read'),
    (['{e}'], 3, 'has no texts'),
    (['{j}'], 3, "x.jsonl:1: expected a JSON object with the field 'text'"),
    (['{j}', '--text_field=a'], 3, "field 'a' is 1; expected a text"),
  ],
)
def test_what_is_wrong_with_texts_is_said_first(
  flags, code, expected, tmp_path, capsys
):
  (tmp_path / 'sentences.txt').write_text('a\n')
  (tmp_path / 'empty.txt').write_text(' \n')
  (tmp_path / 'x.jsonl').write_text('{"a": 1}\n')
  names = dict(s='sentences.txt', e='empty.txt', j='x.jsonl')
  places = {name: str(tmp_path / file) for name, file in names.items()}
  flags = [flag.format(**places) for flag in flags]
  assert expected in embed(tmp_path / 'no_run', capsys, *flags, code=code)


def test_a_pooling_that_the_run_lacks_is_refused(finished_run, capsys):
  err = embed(finished_run, capsys, '--text=a', '--pooling=pooler', code=2)
  assert 'this model has no pooler' in err
