"""What Orbax and absl say on the screen, and what is worth showing."""

import logging
import runpy
import sys
import types

import absl.logging
import pytest

from gpt_jax.checkpoints import orbax_logging


@pytest.fixture(autouse=True)
def console(monkeypatch):
  """Returns what reaches the hook that was there before."""
  shown = []
  monkeypatch.setattr(sys, 'unraisablehook', shown.append)
  orbax_logging.silence()
  orbax_logging.silence()  # twice does no more than once
  return shown


def unraisable(value, item=None):
  return types.SimpleNamespace(exc_value=value, object=item)


def test_chunks_of_a_failed_save_are_ignored(console):
  async def read():
    pass

  left = read()
  sys.unraisablehook(unraisable(RuntimeError('Event loop is closed')))
  ours = unraisable(ValueError('of our own'), left)
  sys.unraisablehook(ours)
  assert console == [ours]
  left.close()


def log(path, verbosity=0):
  record = logging.LogRecord('absl', logging.ERROR, path, 1, 'text', (), None)
  absl.logging.set_verbosity(verbosity)
  return bool(logging.getLogger('absl').filter(record))


def test_tasks_that_a_failed_save_abandons_are_ignored():
  def passes(text):
    record = logging.LogRecord('asyncio', logging.ERROR, '', 1, text, (), None)
    return bool(logging.getLogger('asyncio').filter(record))

  assert not passes('Task was destroyed but it is pending! /lib/orbax/checkpoint/a.py')
  assert passes('Task was destroyed but it is pending! /lib/grain/loader.py')


@pytest.mark.parametrize('folder', ['orbax', 'grain'])
def test_exceptions_never_retrieved_are_hidden_if_of_orbax(folder, tmp_path):
  # Two items of a save fail at once, as on a full disk: Orbax takes the first failure.
  path = tmp_path / folder / 'write.py'
  path.parent.mkdir()
  path.write_text('raise OSError(28)')
  with pytest.raises(OSError) as failure:
    runpy.run_path(str(path))
  info = failure.type, failure.value, failure.tb
  text = '_GatheringFuture exception was never retrieved'
  record = logging.LogRecord('asyncio', logging.ERROR, '', 1, text, (), info)
  assert bool(logging.getLogger('asyncio').filter(record)) == (folder == 'grain')


def test_log_lines_of_orbax_are_hidden(request):
  verbosity = absl.logging.get_verbosity()
  request.addfinalizer(lambda: absl.logging.set_verbosity(verbosity))
  assert not log('/lib/orbax/checkpoint/manager.py')
  assert log('/lib/orbax/checkpoint/manager.py', verbosity=1)
  assert log('/lib/grain/loader.py')
