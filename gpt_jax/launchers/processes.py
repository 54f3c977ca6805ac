"""Starts a command as several processes on this machine, the way a pod would start it.

They find each other by the GPT_JAX_... variables of `parallel/multihost.py`.
"""

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

COORDINATOR = 'GPT_JAX_COORDINATOR'
POLL_SECONDS = 0.1
PREEMPTED = 75  # saved and stopped, as a signal asked
SHOWN_LINES = 30  # of a failed process' log
HUNG = 124  # as timeout(1)


def run(
  command,
  *,
  processes,
  devices_per_process=0,
  environment=None,
  log_dir=None,
  stop_seconds=30.0,
  is_hung=lambda: False,
):
  """Returns (exit code, whether a signal asked to stop) of `command` in all processes.

  The code is that of the first to fail, 128 + N for signal N; HUNG when `is_hung()`
  turned true. Signals of the caller are passed on to all.

  Args:
    devices_per_process: virtual CPU devices in each; 0 leaves the devices as they are.
    environment: further variables of all processes, {name: value}.
    log_dir: where processes 1, 2, ... write; None: here, each line with a prefix.
    stop_seconds: after a failure, how long the others may take before they are killed.
  """
  coordinator = f'127.0.0.1:{_free_port()}'
  group = _Group(stop_seconds)
  previous = {
    number: signal.signal(number, lambda received, _: group.forward(received))
    for number in (signal.SIGINT, signal.SIGTERM)
  }
  try:
    for index in range(processes):
      own = variables(coordinator, processes, index, devices_per_process)
      everything = os.environ | (environment or {}) | own
      group.start(command, everything, index, log_dir)
    say(f'process ids {" ".join(str(pid) for pid in group.pids())}')
    return group.wait(is_hung), group.was_stopped
  finally:
    group.kill()
    for number, handler in previous.items():
      signal.signal(number, handler)


def say(text):
  """Prints a message of the launcher, not of a process."""
  print(f'launch: {text}', file=sys.stderr, flush=True)


class _Group:
  """The processes of a run: started one by one, ended together."""

  def __init__(self, stop_seconds):
    self._processes, self._logs, self._readers = [], {}, []
    self._stop_seconds = stop_seconds
    self.was_stopped = False

  def start(self, command, environment, index, log_dir):
    if index == 0:
      process = _start(command, environment)
    elif log_dir is not None:
      log = self._logs[index] = log_of(log_dir, index)
      log.parent.mkdir(parents=True, exist_ok=True)
      with open(log, 'ab') as file:
        process = _start(command, environment, file)
    else:
      process = _start(command, environment, subprocess.PIPE)
      reader = threading.Thread(target=_prefix, args=(process.stdout, index))
      reader.start()
      self._readers.append(reader)
    self._processes.append(process)

  def pids(self):
    return [process.pid for process in self._processes]

  def forward(self, number):
    self.was_stopped = True
    self.send(number)

  def send(self, number):
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
        # All of them were asked to stop and save: the others are about to end.
        self._await_end()
        return PREEMPTED
      if failed:
        self.send(signal.SIGTERM)
        self._await_end()
        index, code = max(failed, key=cause_key)
        self._report(index, _exit_code(code))
        return _exit_code(code)
      if all(code == 0 for code in codes):
        self._join()
        return 0
      # Reading the workdir once a second is enough. After a signal a save may take
      # as long as it needs.
      if next(polls) % 10 == 0 and not self.was_stopped and is_hung():
        self.kill()  # a stopped or deadlocked process answers to nothing less
        return HUNG
      time.sleep(POLL_SECONDS)

  def kill(self):
    """Leaves no process behind, whatever happened."""
    self.send(signal.SIGKILL)
    for process in self._processes:
      process.wait()
    self._join()

  def _await_end(self):
    """Waits for all to end; kills those that take longer than `stop_seconds`."""
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
    say(f'process {index} ended first, exit code {code}')
    if index in self._logs:
      lines = self._logs[index].read_text(errors='replace').splitlines()
      print('\n'.join(lines[-SHOWN_LINES:]), file=sys.stderr)
      say(f'its complete output is in {self._logs[index]}')


def _start(command, environment, output=None):
  return subprocess.Popen(
    command,
    env=environment,
    stdout=output,
    stderr=None if output is None else subprocess.STDOUT,
    # Ctrl-C reaches the launcher alone, which passes it on once.
    start_new_session=True,
  )


def variables(coordinator, processes, index, devices_per_process):
  """Returns the variables that process `index` gets, {name: value}."""
  found = {
    COORDINATOR: coordinator,
    'GPT_JAX_NUM_PROCESSES': str(processes),
    'GPT_JAX_PROCESS_ID': str(index),
    'PYTHONUNBUFFERED': '1',
  }
  if devices_per_process:
    flag = f'--xla_force_host_platform_device_count={devices_per_process}'
    found['XLA_FLAGS'] = f'{os.environ.get("XLA_FLAGS", "")} {flag}'.strip()
    found['JAX_PLATFORMS'] = 'cpu'
  return found


def log_of(folder, index):
  """Returns the file that process `index` writes to."""
  return pathlib.Path(folder) / f'process_{index}.log'


def _exit_code(code):
  """Returns a subprocess' return code as a shell shows it: 128 + N for signal N."""
  return 128 - code if code < 0 else code


def _free_port():
  """Returns a free port out of those that Linux assigns only on request.

  It stays free until process 0 has loaded jax and takes it.
  """
  for port in random.sample(range(20_000, 32_000), 100):  # ephemeral: 32768 and up
    try:
      socket.create_server(('127.0.0.1', port)).close()
      return port
    except OSError:
      continue
  raise OSError('none of 100 ports from 20000 to 31999 is free')


def cause_key(failed):
  """Returns a key that sorts failed (index, return code), the cause last."""
  # When a process is lost, its peers abort (134) or end with a traceback (1).
  code = _exit_code(failed[1])
  return code not in (1, 134), code


def _prefix(stream, index):
  for line in stream:
    text = line.decode(errors='replace')
    print(f'[{index}] {text}', end='', file=sys.stderr, flush=True)
