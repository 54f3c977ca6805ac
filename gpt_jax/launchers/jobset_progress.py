"""Waiting for a JobSet: the output of its first pod, and how it ended."""

import json
import subprocess
import sys
import time

from gpt_jax.launchers import jobset, processes, steps

SELECTOR = 'jobset.sigs.k8s.io/jobset-name'
_FIRST_POD = 'jobset.sigs.k8s.io/job-index=0,batch.kubernetes.io/job-completion-index=0'
POLL_SECONDS = 10.0


def say(text):
  """Prints a message of the launcher, not of a pod."""
  processes.say(text)


def follow(name, kubectl, show_log=True, sleep=time.sleep):
  """Returns the exit code of the JobSet `name`, once it has completed or failed.

  Args:
    kubectl: the words of a call before its subcommand.
    show_log: whether the output of process 0 is passed on as it comes.
  """
  log, shown, restarts = None, None, 0
  try:
    while True:
      status = _get(kubectl, 'jobset', name).get('status', {})
      if status.get('restarts', 0) != restarts:
        restarts = status['restarts']
        say(f'{name} starts again, restart {restarts}')
      if ended := status.get('terminalState'):
        if log:
          log.wait()
        return 0 if ended == 'Completed' else _exit_code(name, kubectl)
      if log and log.poll() is not None:
        # Ended with its pod (0), or the connection was cut: then it is tried again.
        shown, log = (restarts if log.returncode == 0 else shown), None
      if show_log and log is None and shown != restarts and _runs(name, kubectl):
        log = _start_log(name, kubectl)
      sleep(POLL_SECONDS)
  finally:
    if log and log.poll() is None:
      log.kill()
      log.wait()


def _runs(name, kubectl):
  pods = _get(kubectl, 'pods', f'--selector={SELECTOR}={name},{_FIRST_POD}')['items']
  phases = {pod.get('status', {}).get('phase') for pod in pods}
  return bool(phases & {'Running', 'Succeeded', 'Failed'})


def _start_log(name, kubectl):
  words = [
    *kubectl,
    'logs',
    '--follow',
    f'--selector={SELECTOR}={name},{_FIRST_POD}',
    f'--container={jobset.CONTAINER}',
    '--tail=-1',
  ]
  return subprocess.Popen(words, stdout=sys.stdout)


def _exit_code(name, kubectl):
  """Returns the exit code of the pod that failed first of its own."""
  pods = _get(kubectl, 'pods', f'--selector={SELECTOR}={name}')['items']
  ended = [
    container.get('state', {}).get('terminated', {}).get('exitCode', 0)
    for pod in pods
    for container in pod.get('status', {}).get('containerStatuses', [])
  ]
  failed = [(index, code) for index, code in enumerate(ended) if code]
  return max(failed, key=processes.cause_key)[1] if failed else 1


def _get(kubectl, *words):
  return json.loads(steps.take(steps.Call((*kubectl, 'get', *words, '--output=json'))))
