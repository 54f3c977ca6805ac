"""Runs tasks in processes of their own: `N` of them, which end when this one does."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading

from gpt_jax.core.errors import DataError, Interrupted, UserError

STOPPED = 'stopped; whole shards are kept: start the same command again.'
_JOB = None  # what a worker has opened; there is one job in a process


def run(open_job, arguments, tasks, num_processes):
  """Yields (task, result) of each task, as they are done.

  `open_job(*arguments)` returns a function of a task, in each process once. The tasks
  run here where `num_processes` is 1. Raises what a task raises, DataError where a
  process was killed; the tasks that run meanwhile are then stopped.
  """
  tasks = list(tasks)
  if num_processes == 1 or not tasks:
    if tasks:
      job = open_job(*arguments)
      for task in tasks:
        yield task, job(task)
    return
  others = multiprocessing.active_children()
  pool = concurrent.futures.ProcessPoolExecutor(
    min(num_processes, len(tasks)),
    multiprocessing.get_context('spawn'),
    _start,
    (open_job, arguments),
  )
  try:
    waiting = {pool.submit(_do, task): task for task in tasks}
    for done in concurrent.futures.as_completed(waiting):
      yield waiting[done], _result(done)
  except BaseException:
    for process in multiprocessing.active_children():
      if process not in others:
        process.terminate()
    raise
  finally:
    pool.shutdown(wait=True, cancel_futures=True)


def _result(done):
  try:
    outcome = done.result()
  except concurrent.futures.process.BrokenProcessPool as error:
    raise DataError(
      'a process of --processes was killed, perhaps for lack of memory; start the same'
      ' command again: whole shards are kept. Fewer --processes take less memory.'
    ) from error
  if isinstance(outcome, UserError | Interrupted):
    raise outcome
  return outcome


def _start(open_job, arguments):
  global _JOB
  # Ctrl-C reaches all processes of a terminal: the first one decides what it means.
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  signal.signal(signal.SIGTERM, _stop)
  # A pool's processes wait for ever when the one that started them is killed.
  threading.Thread(target=_end_with_parent, daemon=True).start()
  # Each process is one of N: the tokenizers' own threads would be N times N.
  os.environ['TOKENIZERS_PARALLELISM'] = 'false'
  try:
    _JOB = open_job(*arguments)
  except UserError as error:  # raised by the first task, with its message
    _JOB = _Failed(error)


class _Stopped(BaseException):
  """Raised where a worker is, so that it removes the files that it has begun."""


_IS_STOPPED, _IS_BUSY = threading.Event(), threading.Event()


def _stop(number, frame):
  if _IS_BUSY.is_set() and not _IS_STOPPED.is_set():
    _IS_STOPPED.set()
    raise _Stopped
  _IS_STOPPED.set()


class _Failed:
  def __init__(self, error):
    self._error = error

  def __call__(self, task):
    raise self._error


def _end_with_parent():
  parent = multiprocessing.parent_process()
  if parent is not None:
    parent.join()
    os._exit(1)


def _do(task):
  assert _JOB is not None
  try:
    _IS_BUSY.set()
    return Interrupted(STOPPED) if _IS_STOPPED.is_set() else _JOB(task)
  except _Stopped:
    return Interrupted(STOPPED)
  except UserError as error:  # with its notes, which an exception loses on the way
    for note in getattr(error, '__notes__', []):
      error.args = (f'{error}\n{note}',)
    return error
  finally:
    _IS_BUSY.clear()
