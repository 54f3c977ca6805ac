"""A pipe without a reader is told from one with."""

import io
import os

import pytest

from gpt_jax.core import pipes


def test_a_pipe_is_closed_once_its_reader_has_gone():
  reader, writer = os.pipe()
  with os.fdopen(writer, 'w') as stream:
    assert not pipes.is_closed(stream)
    os.close(reader)
    assert pipes.is_closed(stream)
    with pytest.raises(BrokenPipeError):
      print('text', file=stream, flush=True)
    pipes.send_nowhere(stream)
    print('text', file=stream, flush=True)


def test_a_stream_without_a_file_is_open():
  assert not pipes.is_closed(io.StringIO())
