"""`gpt-jax prepare`: a corpus from the command line, and mistakes before it starts."""

import json
import time

import pytest

from gpt_jax import cli
from gpt_jax.core.errors import DataError
from gpt_jax.corpus import workers
from tests import tiny_runs
from tests.corpus import corpora


@pytest.fixture
def corpus(tmp_path):
  records = [{'text': text} for text in corpora.texts(30)]
  corpora.write_lines(tmp_path / 'a.jsonl', records)
  return tmp_path / 'a.jsonl'


def prepare(corpus, *more):
  overrides = {'data.source': 'jsonl', 'data.path': corpus, 'tokenizer.name': 'byte'}
  return cli.main(['prepare', *tiny_runs.flags(overrides), *more])


def test_it_prints_the_report_and_json(corpus, tmp_path, capsys):
  out = tmp_path / 'out'
  assert prepare(corpus, f'--out={out}', '--processes=1', '--json') == 0
  shown = capsys.readouterr().out
  assert '| train | 30 |' in shown and 'tokens/s' in shown
  assert f'--config.data.source=prepared --config.data.path={out}' in shown
  found = json.loads(shown.splitlines()[-1])
  assert found['splits']['train']['documents'] == 30 and found['shards'] == 1
  assert prepare(corpus, f'--out={out}', '--processes=1') == 0
  assert 'tokens/s' not in capsys.readouterr().out  # all was there


def test_a_share_says_what_is_missing(corpus, tmp_path, capsys):
  out = tmp_path / 'out'
  assert prepare(corpus, f'--out={out}', '--processes=1', '--shard=2/2') == 0
  assert '1 of 1 shard missing' in capsys.readouterr().out
  assert not (out / 'manifest.json').exists()


def test_of_several_processes_each_makes_a_share(corpus, tmp_path, capsys, monkeypatch):
  variables = {'COORDINATOR': 'localhost:1', 'NUM_PROCESSES': '2', 'PROCESS_ID': '1'}
  for name, value in variables.items():
    monkeypatch.setenv(f'GPT_JAX_{name}', value)
  out = tmp_path / 'out'
  monkeypatch.delenv('GPT_JAX_COORDINATOR')
  assert prepare(corpus, f'--out={out}', '--processes=1') == 2
  assert 'Or give --shard=I/N' in capsys.readouterr().err
  monkeypatch.setenv('GPT_JAX_COORDINATOR', 'localhost:1')
  assert prepare(corpus, f'--out={out}', '--processes=1') == 0
  shown = capsys.readouterr().out
  assert 'process 1 of 2 makes a share of its own' in shown
  assert 'share 2 of 2 is prepared' in shown
  # A share that was asked for by name is made whatever there is.
  assert prepare(corpus, f'--out={out}', '--processes=1', '--shard=1/2') == 0
  assert (out / 'manifest.json').exists()


@pytest.mark.parametrize(
  'flags, code, expected',
  [
    (['--shard=5/4'], 2, '--shard=5/4: expected I/N'),
    (['--shard=0/4'], 2, 'from 1/4 to 4/4'),
    (['--shard=half'], 2, 'such as 3/8'),
    (['--processes=0'], 2, '--processes=0: expected at least 1'),
    (['--shard_mb=-1'], 2, '--shard_mb=-1: expected at least 0'),
    (['--step=dedupe'], 2, "--step='dedupe': expected one of"),
    (['--out='], 2, '--out is missing'),
    (['--out=/proc/nowhere'], 5, 'cannot write in /proc/nowhere'),
    (['--config.data.path=nowhere.jsonl'], 3, 'no such file'),
    (['--config.data.source=prepared'], 2, 'is prepared already'),
  ],
)
def test_a_mistake_starts_nothing(corpus, tmp_path, capsys, flags, code, expected):
  out = tmp_path / 'out'
  assert prepare(corpus, f'--out={out}', *flags) == code
  assert expected in capsys.readouterr().err
  assert not out.exists()


@pytest.mark.slow
def test_a_killed_process_is_told(tmp_path):
  with pytest.raises(Exception, match='was killed.*whole shards are kept'):
    list(workers.run(_opens, (), [0, 1, 2, 3], 2))


def _opens():
  return _kills_itself


def _kills_itself(task):
  import os
  import signal

  os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_failure_stops_the_tasks_beside_it():
  started = time.monotonic()
  with pytest.raises(DataError, match='this one'):
    list(workers.run(_opens_failing, (), [0, 1, 2, 3], 2))
  assert time.monotonic() - started < 60


def _opens_failing():
  return _fails_or_lasts


def _fails_or_lasts(task):
  if task == 1:
    raise DataError('this one')
  time.sleep(300)
