"""Starts a run as several processes on this machine, the way a pod would start it.

    python -m gpt_jax.launchers.local --processes 2 -- train --config=configs/tiny.py --workdir=W
    python -m gpt_jax.launchers.local --processes 2 --devices_per_process 4 -- train ...
    python -m gpt_jax.launchers.local --processes 2 --supervise -- train ... --workdir=W

What stands after `--` is given to `python -m gpt_jax` in each process. The processes
find each other through GPT_JAX_COORDINATOR, GPT_JAX_NUM_PROCESSES and
GPT_JAX_PROCESS_ID (see gpt_jax/parallel/multihost.py), on 127.0.0.1 only.

Process 0 has this terminal. The others write to WORKDIR/logs/process_N.log, or here
with a prefix where the command has no --workdir. SIGINT and SIGTERM go to all
processes, which save and end with 75. When one fails, the others are stopped, and its
exit code becomes the launcher's (128 + the signal if it was killed); the end of its log
is shown.

With --supervise all processes are started again when one crashes, is killed, is
preempted (75) or hangs (no new figures, saves or tokens in the workdir for
--hang_seconds). Mistakes of the user (2 to 6) and Ctrl-C end the run, and so do
--max_restarts and --same_step_crashes in a row without a new save. SIGTERM to the
launcher is passed on and ends it, with the exit code of the run.
docs/reliability.md says what that promises.
"""

import argparse
import itertools
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.1
PREEMPTED = 75  # saved and stopped, as a signal asked
SHOWN_LINES = 30  # of a failed process' log
HUNG = 124  # as timeout(1)


def main(argv=None):
  """Returns the exit code of the run that the command line `argv` describes."""
  arguments = sys.argv[1:] if argv is None else list(argv)
  options, command = _parse(arguments)
  workdir = _workdir(command)
  log_dir = options.log_dir or (workdir and workdir / 'logs')
  if workdir and command[0] == 'train' and (error := _refusal(workdir)):
    _say(f'error: {error}')
    return error.exit_code
  full = [sys.executable, '-m', 'gpt_jax', *command]
  settings = dict(
    processes=options.processes,
    devices_per_process=options.devices_per_process,
    log_dir=log_dir,
    stop_seconds=options.stop_seconds,
  )
  if not options.supervise:
    return run(full, **settings)
  from gpt_jax.launchers import supervise

  policy = supervise.Policy(
    options.max_restarts,
    options.restart_seconds,
    options.hang_seconds,
    options.same_step_crashes,
  )

  def attempt(is_hung):
    return run_watched(full, is_hung=is_hung, show_pids=True, **settings)

  return supervise.supervise(attempt, workdir, policy, _say)


def _refusal(workdir):
  """Returns why no run can start in `workdir`, before a log is written there."""
  from gpt_jax.core import errors
  from gpt_jax.workdir import files, lock

  try:
    files.check_writable_early(workdir)
    lock.refuse_owned(workdir)
  except errors.StorageError as error:
    return error


def run(command, **settings):
  """Returns the exit code of the first to fail of the processes of `run_watched`."""
  return run_watched(command, **settings)[0]


def run_watched(
  command,
  *,
  processes,
  devices_per_process=0,
  log_dir=None,
  stop_seconds=30,
  is_hung=lambda: False,
  show_pids=False,
):
  """Runs `command` in `processes` copies; returns (exit code, whether told to stop).

  The code is that of the first to fail; HUNG when `is_hung()` turned true.
  `devices_per_process` virtual CPU devices are made in each, 0 leaves the devices as
  they are. Output of all but the first goes to `log_dir`, or here with a prefix. After
  a failure the others get `stop_seconds` to end before they are killed.
  """
  coordinator = f'127.0.0.1:{_free_port()}'
  group = _Group(stop_seconds)
  previous = {
    number: signal.signal(number, lambda received, _: group.tell(received))
    for number in (signal.SIGINT, signal.SIGTERM)
  }
  try:
    for index in range(processes):
      environment = _environment(coordinator, processes, index, devices_per_process)
      group.start(command, environment, index, log_dir)
    if show_pids:
      _say(f'process ids {" ".join(str(pid) for pid in group.pids())}')
    return group.wait(is_hung), group.was_told
  finally:
    group.kill()
    for number, handler in previous.items():
      signal.signal(number, handler)


class _Group:
  """The processes of a run: started one by one, ended together."""

  def __init__(self, stop_seconds):
    self._processes, self._logs, self._readers = [], {}, []
    self._stop_seconds = stop_seconds
    self.was_told = False

  def start(self, command, environment, index, log_dir):
    # A session of its own: Ctrl-C reaches the launcher alone, which passes it on once.
    options = dict(env=environment, start_new_session=True)
    if index == 0:
      process = subprocess.Popen(command, **options)
    elif log_dir is not None:
      log = pathlib.Path(log_dir) / f'process_{index}.log'
      log.parent.mkdir(parents=True, exist_ok=True)
      self._logs[index] = log
      with open(log, 'ab') as handle:
        process = subprocess.Popen(
          command, stdout=handle, stderr=subprocess.STDOUT, **options
        )
    else:
      process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options
      )
      reader = threading.Thread(target=_prefix, args=(process.stdout, index))
      reader.start()
      self._readers.append(reader)
    self._processes.append(process)

  def pids(self):
    """Returns the process ids, process 0 first."""
    return [process.pid for process in self._processes]

  def tell(self, number):
    """Passes on a signal that the launcher got, and remembers that it did."""
    self.was_told = True
    self.send(number)

  def send(self, number):
    """Sends a signal to every process that still runs."""
    for process in self._processes:
      if process.poll() is None:
        process.send_signal(number)

  def wait(self, is_hung):
    """Returns the exit code of the run, once all processes have ended."""
    polls = itertools.count()
    while True:
      codes = [process.poll() for process in self._processes]
      failed = [(index, code) for index, code in enumerate(codes) if code]
      if failed and all(code == PREEMPTED for _, code in failed):
        # All of them were asked to stop and save: the others are on their way out.
        self._await_end()
        return PREEMPTED
      if failed:
        self._stop()
        index, code = max(failed, key=_is_cause)
        self._report(index, _exit_code(code))
        return _exit_code(code)
      if all(code == 0 for code in codes):
        self._join()
        return 0
      # A look at the disk a second is enough. What is told to stop may take its time.
      if next(polls) % 10 == 0 and not self.was_told and is_hung():
        self.kill()  # a stopped or deadlocked process answers to nothing less
        return HUNG
      time.sleep(POLL_SECONDS)

  def kill(self):
    """Leaves no process behind, whatever happened."""
    self.send(signal.SIGKILL)
    for process in self._processes:
      process.wait()
    self._join()

  def _stop(self):
    self.send(signal.SIGTERM)
    self._await_end()

  def _await_end(self):
    """Waits for all to end; kills those that take longer than they may."""
    deadline = time.monotonic() + self._stop_seconds
    while time.monotonic() < deadline:
      if all(process.poll() is not None for process in self._processes):
        break
      time.sleep(POLL_SECONDS)
    self.kill()

  def _join(self):
    for reader in self._readers:
      reader.join()

  def _report(self, index, code):
    print(f'launch: process {index} ended first, exit code {code}', file=sys.stderr)
    if index in self._logs:
      lines = self._logs[index].read_text(errors='replace').splitlines()
      print('\n'.join(lines[-SHOWN_LINES:]), file=sys.stderr)
      print(f'launch: the whole output is in {self._logs[index]}', file=sys.stderr)


def _environment(coordinator, processes, index, devices_per_process):
  """Returns the environment of process `index`."""
  environment = dict(os.environ)
  environment |= {
    'GPT_JAX_COORDINATOR': coordinator,
    'GPT_JAX_NUM_PROCESSES': str(processes),
    'GPT_JAX_PROCESS_ID': str(index),
    'PYTHONUNBUFFERED': '1',
    # The command works from any folder, installed or not.
    'PYTHONPATH': os.pathsep.join(
      filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])
    ),
  }
  if devices_per_process:
    flag = f'--xla_force_host_platform_device_count={devices_per_process}'
    environment['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {flag}'.strip()
    environment['JAX_PLATFORMS'] = 'cpu'
  return environment


def _exit_code(code):
  """Returns a subprocess' return code as a shell shows it: 128 + N for signal N."""
  return 128 - code if code < 0 else code


def _free_port():
  """Returns a port that is free and that the system gives nobody by itself.

  It stays free, then, until process 0 has loaded jax and takes it.
  """
  for port in random.sample(range(20_000, 32_000), 100):  # Linux gives out 32768 and on
    try:
      socket.create_server(('127.0.0.1', port)).close()
      return port
    except OSError:
      continue
  raise OSError('none of 100 ports from 20000 to 31999 is free')


def _is_cause(failed):
  """Orders (index, return code) of processes that ended together, the cause last.

  When a process is lost, its peers abort (134) or end with a traceback (1).
  """
  code = _exit_code(failed[1])
  return code not in (1, 134), code


def _prefix(stream, index):
  for line in stream:
    text = line.decode(errors='replace')
    print(f'[{index}] {text}', end='', file=sys.stderr, flush=True)


def _say(text):
  print(f'launch: {text}', file=sys.stderr, flush=True)


def _workdir(command):
  """Returns the workdir that `command` names, or None."""
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  parser.add_argument('--workdir')
  workdir = parser.parse_known_args(command)[0].workdir
  return pathlib.Path(workdir).expanduser() if workdir else None


def _parse(arguments):
  """Returns `(options, command)` around the `--` of the command line."""
  cut = arguments.index('--') if '--' in arguments else len(arguments)
  parser = argparse.ArgumentParser(
    prog='python -m gpt_jax.launchers.local',
    description=__doc__,
    usage='%(prog)s --processes N [options] -- COMMAND [flags of gpt_jax]',
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('--processes', type=_positive, required=True, help='how many')
  parser.add_argument(
    '--devices_per_process',
    type=_positive,
    default=0,
    help='virtual CPU devices in each process; without it: the devices that are there',
  )
  parser.add_argument(
    '--log_dir', help='where processes 1, 2, ... write (default: WORKDIR/logs)'
  )
  parser.add_argument(
    '--stop_seconds',
    type=float,
    default=30.0,
    help='after a failure, how long the others may take to end (default: 30)',
  )
  _add_supervision(parser)
  options = parser.parse_args(arguments[:cut])
  command = arguments[cut + 1 :]
  if not command:
    parser.error('nothing to run: put `-- train --config=... --workdir=...` at the end')
  if options.supervise and not _workdir(command):
    parser.error('--supervise needs a run with --workdir: progress is read from there')
  return options, command


def _add_supervision(parser):
  group = parser.add_argument_group('starting again')
  group.add_argument(
    '--supervise', action='store_true', help='start again after a crash'
  )
  group.add_argument(
    '--max_restarts', type=int, default=10, metavar='N', help='in all (default: 10)'
  )
  group.add_argument(
    '--restart_seconds',
    type=float,
    default=5.0,
    metavar='S',
    help='wait before a restart (default: 5)',
  )
  group.add_argument(
    '--hang_seconds',
    type=float,
    default=1800.0,
    metavar='S',
    help='kill and restart after this long without a trace in the workdir; longer than'
    ' a compilation and an evaluation take (default: 1800; 0: never)',
  )
  group.add_argument(
    '--same_step_crashes',
    type=_positive,
    default=3,
    metavar='N',
    help='stop after so many crashes in a row without a new save (default: 3)',
  )


def _positive(text):
  number = int(text)
  if number < 1:
    raise argparse.ArgumentTypeError(f'expected a whole number above 0, got {text}')
  return number


if __name__ == '__main__':
  sys.exit(main())
