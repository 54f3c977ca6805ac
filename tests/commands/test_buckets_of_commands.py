"""A bucket that refuses, is not there or does not answer ends every command with 5."""

import time

import pytest

from gpt_jax import cli
from gpt_jax.storage import patience
from tests import tiny_runs
from tests.storage.buckets import both

pytestmark = pytest.mark.slow

STUDY = f'{tiny_runs.ROOT}/experiments/entropy_floor.py'
TRAIN = ['train', *tiny_runs.flags()]
WRITING = {
  'train': TRAIN,
  'sweep': ['sweep', STUDY],
  'report': ['report', STUDY],
}
READING = {
  'eval': ['eval'],
  'generate': ['generate', '--prompt=1'],
  'checkpoint': ['checkpoint', 'ls'],
  'doctor': ['doctor'],
  'diff': ['diff'],
  'status': ['status', STUDY],
}


def refused(commands, root, said, capsys):
  """Fails unless each of `commands` ends with 5 at once, saying `said`."""
  for name, words in commands.items():
    began = time.monotonic()
    where = [f'{root}/a', f'{root}/b'] if name == 'diff' else [f'--workdir={root}/run']
    assert cli.main([*words, *where]) == 5, name
    assert time.monotonic() - began < 20, name
    assert said in capsys.readouterr().err, name


@both
def test_no_credentials_end_every_command(bucket, capsys):
  bucket[1].refused = 'all'
  refused(WRITING | READING, bucket[0], 'no valid credentials', capsys)


@both
def test_no_such_bucket_ends_every_command(bucket, capsys):
  said = "no bucket 'not-there'"
  gone = bucket[0].replace('test-bucket', 'not-there')
  refused(WRITING | READING, gone, said, capsys)


@both
def test_a_bucket_to_read_alone_ends_what_writes(bucket, capsys):
  bucket[1].refused = 'writes'
  refused(WRITING, bucket[0], f'permission denied by {bucket[0][:5]}', capsys)
  assert cli.main(['status', STUDY, f'--workdir={bucket[0]}']) == 0


def test_no_answer_ends_every_command(bucket, monkeypatch, capsys):
  from gpt_jax.storage import gcs_requests

  monkeypatch.setattr(gcs_requests, 'WAITS', (0.01,))
  monkeypatch.setattr(patience, 'PATIENCE_SECONDS', 0.5)
  monkeypatch.setattr(patience, 'NOTICE_SECONDS', 0.1)
  monkeypatch.setattr(patience, '_NOTED', {})
  monkeypatch.setenv('STORAGE_EMULATOR_HOST', 'http://127.0.0.1:9')
  refused(WRITING | READING, bucket[0], 'does not answer as it should', capsys)
