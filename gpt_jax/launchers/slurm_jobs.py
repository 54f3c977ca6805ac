"""What SLURM says of jobs, and waiting for jobs to end."""

import dataclasses
import re
import subprocess
import time

from gpt_jax.core.errors import UserError

POLL_SECONDS = 5.0
ENDED = (
  'COMPLETED FAILED CANCELLED TIMEOUT NODE_FAIL BOOT_FAIL DEADLINE OUT_OF_MEMORY'
  ' REVOKED'
).split()
UNKNOWN_CODE = 1  # of a job that ended without an exit code, such as a cancelled one


@dataclasses.dataclass(frozen=True)
class Job:
  """A job, or one element of an array, as SLURM has it now."""

  name: str  # 12, or 12_3
  state: str
  exit_code: int  # as a shell shows it: 128 + N for signal N

  @property
  def has_ended(self):
    return self.state in ENDED

  @property
  def code(self):
    """Returns the exit code; not 0 unless it has completed."""
    return self.exit_code or (0 if self.state == 'COMPLETED' else UNKNOWN_CODE)


def wait(ids, say, sleep=time.sleep):
  """Returns the exit code of jobs, once all have ended: the first that is not 0.

  Says each change of a state. A requeued job has not ended.
  """
  known = {}
  while True:
    jobs = {job.name: job for name in ids for job in read(name)}
    for name, job in jobs.items():
      if name not in known or known[name].state != job.state:
        code = f', exit code {job.code}' if job.has_ended else ''
        say(f'job {name}: {job.state.lower()}{code}')
    # One that has ended is forgotten after MinJobAge, five minutes as a rule; 8_1-2,
    # elements that wait, has another name once one of them runs.
    known = {name: job for name, job in known.items() if job.has_ended} | jobs
    if all(job.has_ended for job in known.values()):
      return next((job.code for job in known.values() if job.code), 0)
    sleep(POLL_SECONDS)


def read(name):
  """Returns the Jobs of a job id; of an array each element, once it is on its own."""
  try:
    text = call('scontrol', 'show', 'job', '--oneliner', name)
  except UserError as error:
    if 'Invalid job id' in str(error):
      return []
    raise
  return [_job(line) for line in text.splitlines() if 'JobId=' in line]


def call(*words):
  """Returns what a program of SLURM prints; UserError with its message if it fails."""
  done = subprocess.run(words, capture_output=True, text=True, check=False)
  if done.returncode:
    said = (done.stderr or done.stdout).strip()
    raise UserError(f'{" ".join(words)}: {said}')
  return done.stdout.strip()


def _job(line):
  fields = dict(re.findall(r'(\w+)=(\S*)', line))
  name = fields['JobId']
  if 'ArrayTaskId' in fields:
    name = f'{fields["ArrayJobId"]}_{fields["ArrayTaskId"]}'
  code, signal = map(int, fields['ExitCode'].split(':'))
  return Job(name, fields['JobState'], code or (128 + signal if signal else 0))
