"""`gpt-jax serve` with a probe: what it has compiled and opened, and who is in a slot.

  python -m tests.faults.instrumented SOCKET serve --workdir=...

Beside the probe it is the real command. At the Unix socket a line is a command, and the
answer is a line of JSON:

  state     numbers of compilations, running, waiting, counts of the scheduler
  routes    [path, method, whether it needs no key] of the server's router
  watch     from now on files that are opened are kept
  opened    those files
  fail N    the next N steps of the engine raise an error
"""

import json
import os
import socket
import sys
import threading

POISON = 'poison this text'
"""A prompt with it gets a guide that raises an error after some tokens."""
TOKENS_BEFORE = 4


class Probe:
  """Follows a server from within its process."""

  def __init__(self):
    self.num_compiled, self.failures_left, self.is_watching = 0, 0, False
    self.opened, self.schedulers, self.routes = set(), [], []
    self.steps_to_end = {}  # of texts that were cancelled, by handle while they last
    self.longest_end = 0

  def listen(self, path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    threading.Thread(target=self._answer, args=(server,), daemon=True).start()

  def _answer(self, server):
    while True:
      with server.accept()[0] as connection, connection.makefile('rw') as lines:
        for line in lines:
          lines.write(json.dumps(self.reply(*line.split())) + '\n')
          lines.flush()

  def reply(self, command, number=0):
    if command == 'watch':
      self.is_watching = True
    elif command == 'fail':
      self.failures_left = int(number)
    elif command == 'opened':
      return sorted(self.opened)
    elif command == 'routes':
      return self.routes
    counts = [dict(one.counts) for one in self.schedulers]
    return dict(
      compiled=self.num_compiled,
      running=sum(one.num_running for one in self.schedulers),
      waiting=sum(one.num_waiting for one in self.schedulers),
      slots=sum(one.slots.num_slots for one in self.schedulers),
      longest_end=self.longest_end,
      counts=counts[-1] if counts else {},
    )

  def audit(self, event, args):
    if event == 'open' and self.is_watching and isinstance(args[0], str | bytes):
      self.opened.add(os.path.realpath(os.fsdecode(args[0])))

  def note_compilation(self, event, seconds, **_):
    self.num_compiled += event == '/jax/core/compile/backend_compile_duration'


class PoisonedGuide:
  """A guide of one text that fails: the double of a bug in a grammar."""

  masks = False

  def __init__(self):
    self._left = TOKENS_BEFORE

  @classmethod
  def start(cls, prompt_ids):
    del prompt_ids
    return cls()

  def take(self, token_id):
    self._left -= 1
    if not self._left:
      raise RuntimeError('poisoned')
    return False


def install(probe):
  """Puts the probe's eyes and doubles into the package."""
  import dataclasses

  import jax

  from gpt_jax.inference.handle import Handle
  from gpt_jax.inference.scheduler import Scheduler
  from gpt_jax.inference.slots import Slots
  from gpt_jax.inference.text_scheduler import TextScheduler
  from gpt_jax.serving.app import Server

  jax.monitoring.register_event_duration_secs_listener(probe.note_compilation)
  read, write = TextScheduler.read, Slots.write
  begin, routes = Scheduler.__init__, Server.routes
  cancel, end = Scheduler.cancel, Handle.end

  def poisoned_read(self, prompt, *args, **options):
    text, asked, request = read(self, prompt, *args, **options)
    if isinstance(prompt, str) and POISON in prompt:
      guides = (*request.guides, PoisonedGuide)
      request = dataclasses.replace(request, guides=guides)
    return text, asked, request

  def failing_write(self, limit):
    if probe.failures_left:
      probe.failures_left -= 1
      raise RuntimeError('a step that was told to fail')
    return write(self, limit)

  def known_begin(self, *args, **options):
    begin(self, *args, **options)
    probe.schedulers.append(self)

  def known_routes(self):
    found = routes(self)
    probe.routes = [[one.path, one.method, one.is_open] for one in found]
    return found

  def counted_cancel(self, handle):
    if not handle.ended:
      probe.steps_to_end.setdefault(handle, self.counts['steps'])
    cancel(self, handle)

  def counted_end(self, reason, error=None):
    end(self, reason, error)
    steps = probe.steps_to_end.pop(self, None)
    if steps is not None:
      now = self._scheduler.counts['steps']
      probe.longest_end = max(probe.longest_end, now - steps)

  Scheduler.cancel, Handle.end = counted_cancel, counted_end
  TextScheduler.read, Slots.write = poisoned_read, failing_write
  Scheduler.__init__, Server.routes = known_begin, known_routes


def main():
  path, probe = sys.argv[1], Probe()
  sys.argv[1:] = sys.argv[2:]
  sys.addaudithook(probe.audit)
  probe.listen(path)
  install(probe)
  from gpt_jax import cli

  return cli.main()


if __name__ == '__main__':
  sys.exit(main())
