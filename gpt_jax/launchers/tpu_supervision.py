"""A run on TPU VMs until it has ended: preempted or crashed, it starts again."""

import time
import uuid

from gpt_jax.core.errors import ConfigError, UserError
from gpt_jax.launchers import queued_resource
from gpt_jax.launchers.processes import PREEMPTED, cause_key, say
from gpt_jax.launchers.supervise import FINAL
from gpt_jax.launchers.tpu_workers import Unreached

TRIES = 3  # to have workers start
FOLLOWS = 10  # of one start, while machines are ACTIVE and do not answer
RETRY_SECONDS = 30.0
GONE = 'the machines were taken away'


def run(prepare, workers, max_restarts, wait, sleep=time.sleep):
  """Returns (exit code of the run, whether a signal to this process ended it).

  Where not `wait`, (0, False) once it is started.

  Args:
    prepare: has machines ready, with code and script; called before each start.
    max_restarts: after crashes; preemptions are not counted.
  """
  crashes = unreached = 0
  while True:
    try:
      prepare()
      is_running = _start(workers)
      unreached = 0
      if not wait:
        return 0, False
      ended = _follow(workers, is_running, sleep)
    except Unreached as error:
      # Machines are taken away some time before their request says so.
      unreached += 1
      if unreached >= TRIES and queued_resource.is_active(workers.request):
        queued_resource.add_way_out(error)
        raise
      say(f'{error}\nTrying again.')
      sleep(RETRY_SECONDS)
      continue
    if ended == GONE:
      say(f'preempted: {GONE}; asking for others, and starting again')
      continue
    code, was_asked = ended
    if code in FINAL or was_asked:
      return code, was_asked
    if code == PREEMPTED:
      say('stopped with nothing lost (exit code 75); starting again')
      continue
    if crashes == max_restarts:
      say(f'crashed (exit code {code}). Not again: --max_restarts={max_restarts}.')
      return code, False
    crashes += 1
    say(f'crashed (exit code {code}); restart {crashes} of at most {max_restarts}')


def _start(workers):
  """Returns whether the run was there already, or starts it on all workers."""
  statuses = workers.require('status').values()
  running = [said.split()[1] for said in statuses if said.startswith('running ')]
  if others := set(running) - {workers.commit}:
    raise ConfigError(
      f'--name={workers.name}: it runs there already, at commit {others.pop()[:12]};'
      f' this is {workers.commit[:12]}. Give another name, or end it there first:'
      f' {workers.tell("stop")}'
    )
  if len(running) == workers.count:
    say('it runs there already: following it')
    return True
  if running:
    say('it runs on some of the workers: ending it there first')
    workers.require('stop')
  workers.require('start', uuid.uuid4().hex[:8])
  say(f'started on {workers.count} workers')
  return False


def _follow(workers, again, sleep):
  """Returns (exit code of the run, whether a signal to us ended it), or GONE."""
  was_asked = False
  for _ in range(FOLLOWS):
    followed = workers.follow(again)
    was_asked |= followed.was_asked
    statuses = followed.statuses
    if not _has_ended(statuses, workers.count):
      statuses = workers.statuses()
    if _has_ended(statuses, workers.count):
      codes = [int(said.split()[1]) for said in statuses.values()]
      failed = [pair for pair in enumerate(codes) if pair[1]]
      return (max(failed, key=cause_key)[1] if failed else 0), was_asked
    try:
      if not queued_resource.is_active(workers.request):
        return GONE
    except UserError as error:  # such as a network that is down here
      say(str(error))
    if len(statuses) == workers.count:
      say('the connection was cut; following again')
    else:
      missing = workers.count - len(statuses)
      say(f'{missing} of {workers.count} workers do not answer; trying again')
      sleep(RETRY_SECONDS)
    again = True
  raise UserError(
    f'{workers.request.name} is ACTIVE, but not all of its workers answer. Look at one:'
    f' {workers.request.call("ssh", "--worker=0")}'
  )


def _has_ended(statuses, count):
  ends = [said for said in statuses.values() if said.startswith('exited ')]
  return len(ends) == count
