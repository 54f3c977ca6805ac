"""Runs tasks in processes of their own: `N` of them, which end when this one does."""

import concurrent.futures
import multiprocessing
import os
import threading

from gpt_jax.core.errors import DataError, UserError

_JOB = None  # what a worker has opened; there is one job in a process


def run(open_job, arguments, tasks, num_processes):
  """Yields (task, result) of each task, as they are done.

  `open_job(*arguments)` returns a function of a task, in each process once. The tasks
  run here where `num_processes` is 1. Raises what a task raises, DataError where a
  process was killed.
  """
  tasks = list(tasks)
  if num_processes == 1 or not tasks:
    if tasks:
      job = open_job(*arguments)
      for task in tasks:
        yield task, job(task)
    return
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
  if isinstance(outcome, UserError):
    raise outcome
  return outcome


def _start(open_job, arguments):
  global _JOB
  # A pool's processes wait for ever when the one that started them is killed.
  threading.Thread(target=_end_with_parent, daemon=True).start()
  # Each process is one of N: the tokenizers' own threads would be N times N.
  os.environ['TOKENIZERS_PARALLELISM'] = 'false'
  try:
    _JOB = open_job(*arguments)
  except UserError as error:  # raised by the first task, with its message
    _JOB = _Failed(error)


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
    return _JOB(task)
  except UserError as error:  # with its notes, which an exception loses on the way
    for note in getattr(error, '__notes__', []):
      error.args = (f'{error}\n{note}',)
    return error
