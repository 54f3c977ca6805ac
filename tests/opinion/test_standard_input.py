"""Standard input: all lines reach the journal whole, with or without an end."""

import os

import pytest

from gpt_jax.core.errors import StorageError
from gpt_jax.opinion.journal import Journal
from gpt_jax.opinion.standard_input import Reader


def read_all(reader):
  while reader.is_live():
    reader._thread.join(0.01)


def test_lines_in_any_pieces_arrive_whole(tmp_path):
  journal, (reading, writing) = Journal(tmp_path), os.pipe()
  reader = Reader(journal, reading)
  for piece in (b'on', b'e\ntwo\n\nthr', b'ee'):
    os.write(writing, piece)
  assert reader.is_live()
  os.close(writing)
  read_all(reader)
  assert [line for _, line in journal.read(9)] == [b'one', b'two', b'three']


def test_a_full_disk_is_told_to_the_monitor(tmp_path, monkeypatch):
  journal, (reading, writing) = Journal(tmp_path), os.pipe()

  def full(lines):
    raise StorageError('no space left')

  monkeypatch.setattr(journal, 'append', full)
  reader = Reader(journal, reading)
  os.write(writing, b'a\n')
  os.close(writing)
  with pytest.raises(StorageError, match='no space'):
    read_all(reader)
