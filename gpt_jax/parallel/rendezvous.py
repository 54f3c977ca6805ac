"""Waits until all processes of a run are there, and names those that are not.

jax waits as well, but for minutes without a word, and then ends the process. So each
process first tells process 0, on the address where jax will listen, that it is there;
process 0 answers once all are, and tells everybody who is missing when that takes long.
Messages are lines of JSON; what is none is not ours and is ignored.
"""

import contextlib
import dataclasses
import json
import os
import selectors
import socket
import sys
import time

from gpt_jax.core.errors import UserError
from gpt_jax.parallel.evidence import ALONE

NOTICE_SECONDS = 60.0
CONNECT_SECONDS = 5
LONGEST_LINE = 1 << 16
FOREIGN = 'something else answers there'
SHOWN = 64
"""Processes that a message names one by one."""


def meet(evidence, *, timeout_seconds, notice_seconds=NOTICE_SECONDS):
  """Returns once all processes of the run are there.

  After `notice_seconds`, and again after each, all of them print who is missing. Raises
  UserError, with the names of those missing, after `timeout_seconds`, and at once where
  two processes have the same index or do not agree on their number.
  """
  clock = _Clock(timeout_seconds, notice_seconds)
  if evidence.process_id == 0:
    _gather(evidence, clock)
  else:
    _report(evidence, clock)


class _Clock:
  """When to say that somebody is missing, and when to give up."""

  def __init__(self, timeout_seconds, notice_seconds):
    self._start = time.monotonic()
    self._notice_seconds = notice_seconds
    self._next_notice = notice_seconds
    self._timeout_seconds = timeout_seconds

  @property
  def elapsed(self):
    return time.monotonic() - self._start

  @property
  def left(self):
    return max(0.0, self._timeout_seconds - self.elapsed)

  @property
  def pause(self):
    """Returns the seconds until something has to be said or given up."""
    return max(0.0, min(self.left, self._next_notice - self.elapsed))

  def is_notice_due(self):
    """Returns whether it is time for a notice; the next is due a while later."""
    is_due = self.elapsed >= self._next_notice
    if is_due:
      self._next_notice += self._notice_seconds
    return is_due

  def __str__(self):
    return f'after {self.elapsed:.0f} s'


@dataclasses.dataclass
class _Arrival:
  """A process that is connected to process 0, and what it says it is."""

  connection: socket.socket | None
  data: bytes = b''
  process: int | None = None
  host: str = ''
  pid: int = 0

  def __str__(self):
    return f'{self.process} ({self.host}, process id {self.pid})'

  def tell(self, **message):
    if self.connection is not None:
      self.connection.settimeout(CONNECT_SECONDS)
      with contextlib.suppress(OSError):  # it has ended: `_is_read` notices
        self.connection.sendall(json.dumps(message).encode() + b'\n')
      self.connection.setblocking(False)


class _Roll:
  """Who is there and who is missing, as process 0 knows it."""

  def __init__(self, evidence):
    self._evidence = evidence
    me = _Arrival(None, process=0, host=socket.gethostname(), pid=os.getpid())
    self._there = {0: me}

  def is_complete(self):
    return len(self._there) == self._evidence.num_processes

  def enter(self, arrival, message):
    """Adds a process to the roll; raises UserError where it cannot be one of us."""
    arrival.process, arrival.host = message['process'], message['host']
    arrival.pid = message['pid']
    count = self._evidence.num_processes
    if message['of'] != count or not 0 < arrival.process < count:
      raise UserError(
        f'process {arrival} says that the run has {message["of"]} processes, and'
        f' process {self._there[0]} that it has {count}.'
      )
    if other := self._there.get(arrival.process):
      raise UserError(
        f'two processes say that they are process {arrival.process}: {other} and'
        f' {arrival}; give each an index of its own.'
      )
    self._there[arrival.process] = arrival

  def leave(self, arrival):
    if self._there.get(arrival.process) is arrival:
      del self._there[arrival.process]

  def tell(self, **message):
    for arrival in self._there.values():
      arrival.tell(**message)

  def __str__(self):
    """Returns `missing: 2 (n3); there: 0 (n1), 1 (n2)`."""
    count = self._evidence.num_processes
    missing = [i for i in range(count) if i not in self._there]
    there = [
      _label(self._evidence, i, arrival.host)
      for i, arrival in sorted(self._there.items())
    ]
    return (
      f'{len(missing)} of {count} processes missing:'
      f' {_listed([self._evidence.label(i) for i in missing])}; there: {_listed(there)}'
    )


def _label(evidence, process, host):
  """Returns a process with its host, under the launcher's name where it has one."""
  return evidence.label(process) if evidence.hosts else f'{process} ({host})'


def _listed(names):
  more = len(names) - SHOWN
  return ', '.join(names[:SHOWN]) + (f' and {more} more' if more > 0 else '')


def _gather(evidence, clock):
  """Process 0: returns once all others have connected."""
  roll = _Roll(evidence)
  with contextlib.ExitStack() as opened:
    # Closed before anybody is let go: jax listens on the same port next.
    with _listen(evidence) as server, selectors.DefaultSelector() as selector:
      selector.register(server, selectors.EVENT_READ)
      try:
        while not roll.is_complete():
          if not clock.left:
            raise UserError(f'{clock} {roll}.')
          if clock.is_notice_due():
            text = f'{clock} {roll}; waiting for {clock.left:.0f} s more.'
            _say(text)
            roll.tell(waiting=text)
          for key, _ in selector.select(clock.pause):
            if key.fileobj is server:
              connection = opened.enter_context(_accept(server))
              selector.register(connection, selectors.EVENT_READ, _Arrival(connection))
            elif not _is_read(key.data, roll):
              selector.unregister(key.fileobj)
              roll.leave(key.data)
              key.data.connection.close()
      except UserError as error:
        for key in list(selector.get_map().values()):
          if key.data is not None:
            key.data.tell(refused=str(error))
        raise _explained(error, evidence) from None
    roll.tell(go=True)


def _accept(server):
  try:
    connection, _ = server.accept()
  except OSError as error:  # such as too many open files, one for each process
    raise UserError(
      f'process 0 cannot take another connection: {error.strerror}; `ulimit -n` shows'
      ' how many files it may open.'
    ) from error
  connection.setblocking(False)
  return connection


def _is_read(arrival, roll):
  """Reads what a connection has sent; returns whether it may stay."""
  try:
    data = arrival.connection.recv(LONGEST_LINE)
  except BlockingIOError:
    return True
  except OSError:
    return False
  arrival.data += data
  if not data or len(arrival.data) > LONGEST_LINE:
    return False
  if not arrival.data.endswith(b'\n'):
    return True
  try:
    message = json.loads(arrival.data)
    kinds = dict(process=int, of=int, host=str, pid=int)
    is_ours = all(isinstance(message[name], kind) for name, kind in kinds.items())
  except (ValueError, KeyError, TypeError):
    return False
  if not is_ours or arrival.process is not None:
    return False
  roll.enter(arrival, message)
  return True


def _listen(evidence):
  host, port = _split(evidence.coordinator)
  try:
    if is_loopback(host):
      family = socket.AF_INET6 if ':' in host else socket.AF_INET
      return socket.create_server((host, port), family=family, backlog=4096)
    if socket.has_dualstack_ipv6():
      return socket.create_server(
        ('', port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096
      )
    return socket.create_server(('', port), backlog=4096)
  except OSError as error:
    text = f'process 0 cannot listen on port {port} of this host: {error.strerror}.'
    raise _explained(text, evidence) from error


def _report(evidence, clock):
  """Another process: returns once process 0 says that all are there."""
  pause = 0.05
  while True:
    answer = _ask(evidence, clock)
    if 'go' in answer:
      return
    if 'refused' in answer:
      raise _explained(answer['refused'], evidence)
    me = _label(evidence, evidence.process_id, socket.gethostname())
    text = (
      f'{clock} process {evidence.label(0)} is missing: {evidence.coordinator} cannot'
      f' be reached ({answer["lost"]}); there: {me}, and only process 0 knows more'
    )
    if not clock.left:
      raise _explained(f'{text}.', evidence)
    if clock.is_notice_due():
      _say(f'{text}; trying for {clock.left:.0f} s more.')
    time.sleep(min(pause, clock.left))
    pause = min(1.0, 2 * pause)


def _ask(evidence, clock):
  """Returns the last word of process 0: {'go'}, {'refused': text} or {'lost': why}."""
  hello = dict(
    process=evidence.process_id,
    of=evidence.num_processes,
    host=socket.gethostname(),
    pid=os.getpid(),
  )
  address = _split(evidence.coordinator)
  try:
    with socket.create_connection(address, timeout=CONNECT_SECONDS) as there:
      there.sendall(json.dumps(hello).encode() + b'\n')
      # Process 0 gives up first, and says why.
      there.settimeout(clock.left + CONNECT_SECONDS)
      with there.makefile('rb') as lines:
        for line in lines:
          message = json.loads(line)
          if 'waiting' not in message:
            return message if {'go', 'refused'} & set(message) else {'lost': FOREIGN}
          _say(message['waiting'])
    return {'lost': 'it has closed the connection'}
  except OSError as error:
    return {'lost': error.strerror or str(error)}
  except (ValueError, TypeError):
    return {'lost': FOREIGN}


def _explained(text, evidence):
  return UserError(
    f'this process ({evidence.process_id} of {evidence.num_processes}) belongs to a run'
    f' of several, which did not come together. It says so:\n  {evidence}\n{text}\n'
    'Look at the logs of those missing, start all processes with the same coordinator'
    f' address ({evidence.coordinator}), and check that it can be reached from there;'
    f' --join_seconds=N waits longer; {ALONE}.'
  )


def _split(address):
  host, _, port = address.rpartition(':')
  return host.strip('[]'), int(port)


def is_loopback(host):
  """Returns whether `host` is reached from this machine alone."""
  return host in ('localhost', '::1') or host.startswith('127.')


def _say(text):
  print(f'gpt-jax: {text}', file=sys.stderr, flush=True)
