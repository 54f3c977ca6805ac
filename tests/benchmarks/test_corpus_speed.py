"""The corpus and the command lines of the comparison with others."""

import argparse
import json
import sys

import pytest

from gpt_jax.benchmarks import corpus_peers, corpus_speed


def write_texts(folder):
  for name, text in (('a.py', 'x = 1  # é\n' * 99), ('b.md', 'short'), ('c.png', 'no')):
    (folder / name).write_text(text)
  return len(('x = 1  # é\n' * 99).encode())


def test_the_corpus_is_the_texts_of_a_folder(tmp_path):
  size = write_texts(tmp_path)
  assert corpus_speed.write_lines(tmp_path / 'lines', [tmp_path], 1) == size
  (line,) = (tmp_path / 'lines').read_text().splitlines()
  assert json.loads(line)['text'].startswith('x = 1')
  corpus_speed.write_one_line(tmp_path / 'one', tmp_path / 'lines', 1)
  (line,) = (tmp_path / 'one').read_text().splitlines()
  assert len(line) >= 1 << 20 and json.loads(line)['text'].startswith('x = 1')


def test_seconds_and_memory_are_those_of_the_process(tmp_path):
  program = 'x = bytearray(60 << 20); import time; time.sleep(0.4); print(len(x))'
  seconds, used, peak, last = corpus_speed.time_command(
    [sys.executable, '-c', program], str(tmp_path)
  )
  assert last == str(60 << 20) and seconds > 0.4 and used > 0
  assert 60 < peak < 200
  with pytest.raises(SystemExit, match='ended with 3'):
    corpus_speed.time_command([sys.executable, '-c', 'exit(3)'], str(tmp_path))


def test_each_is_given_the_same_lines(tmp_path):
  args = argparse.Namespace(gpt2='G', processes=2, python='python')
  ours = corpus_speed.command_of(corpus_speed.OURS, args, 'lines.jsonl', 'out')
  assert '--config.data.path=lines.jsonl' in ours and '--processes=2' in ours
  for name in corpus_speed.PEERS:
    command = corpus_speed.command_of(name, args, 'lines.jsonl', 'out')
    assert command[0] == 'python' and command[1] == corpus_peers.__file__
    assert command[2:] == [name, 'lines.jsonl', 'G', 'out', '2']


def test_the_better_of_the_others_is_compared_with(capsys):
  one = dict(seconds=2.0, core_seconds=4.0, peak_mib=10.0, tokens=5, mb_per_second=6.0)
  found = {corpus_speed.OURS: [one], 'datasets': [one | {'mb_per_second': 2.0}]}
  corpus_speed.show(found | {'nanogpt': [one | {'mb_per_second': 3.0}]}, 1e6, 2)
  assert '2.00 times as fast as the better' in capsys.readouterr().out
