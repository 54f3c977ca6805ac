"""Runs of the tests on real servers: what they are told, and what they leave."""

import json
import re

from tests import tiny_runs
from tests.cluster import servers, slurm

# The device that there is, and programs that compile in no time.
ENVIRONMENT = {
  'JAX_PLATFORMS': 'cpu',
  'XLA_FLAGS': '--xla_backend_optimization_level=0',
  'JAX_COMPILATION_CACHE_DIR': str(tiny_runs.ROOT / '.cache' / 'xla'),
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
}
BUCKET = [
  'STORAGE_EMULATOR_HOST',
  'TENSORSTORE_GCS_HTTP_URL',
  'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT',
]
FLAGS = [f'--env={name}' for name in ENVIRONMENT]
STEPS = 1000  # more than a start makes before it is interrupted, on a fast machine too
RUN = tiny_runs.ONE_LAYER | {
  'train.steps': STEPS,
  'eval.every_steps': 0,
  'checkpoint.every_steps': 100,
  'checkpoint.keep_last': 100,
}  # fmt: skip
ENDLESS = RUN | {'train.steps': 1_000_000, 'checkpoint.keep_last': 1}
DEADLINE = 180.0  # of a job on two cores that others use as well


def submit(gpt_jax, workdir, *flags, run=RUN):
  """Returns the id of a job that trains on both nodes."""
  code, said = gpt_jax(
    'launch', '--where=slurm', '--nodes=2', *FLAGS, *flags, '--',
    'train', *tiny_runs.flags(run), f'--workdir={workdir}',
  )  # fmt: skip
  assert code == 0, said
  return job_of(said)


def log_of(workdir, job):
  """Returns what the launcher has said in the log of a job."""
  return text(workdir / 'logs' / f'slurm-{job}.log')


def assert_same_end(workdir, other, step=STEPS):
  """Fails where two runs have not saved the same bits at `step`."""
  mine, expected = (tiny_runs.saved_arrays(path, step) for path in (workdir, other))
  tiny_runs.assert_same(mine, expected)


def job_of(said):
  """Returns the id of the job that a launch says it has submitted."""
  return re.search(r'job (\d+) \(', said)[1]


def state(job):
  """Returns the state of a job, such as RUNNING."""
  return re.search(r'JobState=(\w+)', slurm.call('scontrol', 'show', 'job', job))[1]


def wait_for(job, wanted, seconds=DEADLINE):
  """Returns once a job has a state; TimeoutError when it has another one for long."""
  servers.until(lambda: state(job) == wanted, seconds, f'{wanted} of job {job}')


def text(path):
  """Returns the text of a file, '' before it is there."""
  return path.read_text(errors='replace') if path.exists() else ''


def last_step(workdir):
  """Returns the step of the last complete line of metrics, 0 before the first."""
  lines = text(workdir / 'metrics.jsonl').splitlines()
  return json.loads(lines[-1])['step'] if lines and lines[-1].endswith('}') else 0


def wait_for_step(workdir, step):
  servers.until(lambda: last_step(workdir) >= step, DEADLINE, f'step {step}')
