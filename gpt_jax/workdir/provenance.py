"""run.json: the starts of a run, each with its code and machine, and its events.

An event is a step without an update, a rollback (`train/divergence.py`) or a resume
with another config (`train/changes.py`).
"""

import importlib.metadata
import os
import pathlib
import platform
import socket
import subprocess
import sys

import jax

from gpt_jax.workdir import files

PACKAGES = (
  'gpt_jax', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy',
)  # fmt: skip
CODE = pathlib.Path(__file__).parents[1]  # the package as it is imported here
COMMIT_VARIABLE = 'GPT_JAX_COMMIT'
MAX_PATCH_CHARS = 1_000_000  # a stray data file in the tree must not bloat run.json


def add_start(workdir, entry):
  """Appends `entry` (see `collect`) to run.json; earlier starts stay."""
  _update(workdir, starts=[*read_starts(workdir), entry])


def read_starts(workdir):
  return _read(workdir).get('starts', [])


def first_start(workdir):
  """Returns the time at which the run there began, as text; None where there is none.

  A run that was moved away and made again has another one.
  """
  starts = read_starts(workdir)
  return starts[0]['time'] if starts else None


def write_events(workdir, events):
  _update(workdir, events=list(events))


def read_events(workdir):
  return _read(workdir).get('events', [])


def _read(workdir):
  return files.read_json(workdir.run) if workdir.run.exists() else {}


def _update(workdir, **entries):
  files.write_json(workdir.run, _read(workdir) | entries)


def collect(*, now, argv=None):
  """Returns code, versions, devices and command line as JSON values.

  `now`: an aware datetime. Lists the devices, so distributed set-up comes before.
  """
  devices = jax.devices()
  return dict(
    time=now.isoformat(timespec='seconds'),
    argv=list(sys.argv if argv is None else argv),
    git=git_state(CODE),
    python=platform.python_version(),
    versions={package: _version(package) for package in PACKAGES},
    devices=dict(
      platform=devices[0].platform, kind=devices[0].device_kind, count=len(devices)
    ),
    processes=jax.process_count(),
    hostname=socket.gethostname(),
    cores=os.cpu_count(),
    system=platform.platform(),
  )


def git_state(folder):
  """Returns `{commit, dirty, patch, untracked}` of the code in `folder`, or None.

  None: no repository tracks the folder, or there is no git. `patch` is the diff from
  `commit`; only the names of untracked files are kept. Where a launcher has copied the
  code of a commit, or it is in an image, COMMIT_VARIABLE says which.
  """
  # An environment inside somebody's repository is not code of that repository.
  if not git(folder, 'ls-files', '--', '.'):
    commit = os.environ.get(COMMIT_VARIABLE)
    return dict(commit=commit, dirty=False, patch='', untracked=[]) if commit else None
  root = git(folder, 'rev-parse', '--show-toplevel').strip()
  patch = git(root, 'diff', 'HEAD', '--no-color', '--no-ext-diff')
  untracked = git(root, 'ls-files', '--others', '--exclude-standard').splitlines()
  if len(patch) > MAX_PATCH_CHARS:
    patch = patch[:MAX_PATCH_CHARS] + f'\n... the first of {len(patch)} characters\n'
  return dict(
    commit=git(root, 'rev-parse', 'HEAD').strip(),
    dirty=bool(patch or untracked),
    patch=patch,
    untracked=untracked,
  )


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def git(folder, *arguments):
  """Returns what git prints; '' where there is no git, no repository or no commit."""
  try:
    done = subprocess.run(
      ['git', '-C', str(folder), *arguments],
      capture_output=True,
      text=True,
      errors='replace',
      timeout=30,
    )
  except (OSError, subprocess.TimeoutExpired):
    return ''
  return done.stdout if done.returncode == 0 else ''
