"""The folder of a run: the names of its files, and where each start of it came from.

config.json    the resolved config        checkpoints/  one folder a step
run.json       starts and events          tokenizer/    what was learnt or copied
metrics.jsonl  figures, a line a step     cache/        tokens of the data sources
eval.json      the last evaluation        tensorboard/  the same figures
samples.md     generated text             figures/      PNGs
logs/          output of other processes  profile/      traces
lock.json      who is training here now
postmortem.json  how a run ended that diverged
"""

import contextlib
import importlib.metadata
import pathlib
import platform
import socket
import subprocess
import sys

import jax

from gpt_jax.config import migrate
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.parallel import sync
from gpt_jax.workdir import files
from gpt_jax.workdir import lock as workdir_lock

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')
MAX_PATCH_CHARS = 1_000_000  # a stray data file in the tree must not bloat run.json


class Workdir:
  """The paths of a run's folder. Building one touches nothing; `create` writes."""

  def __init__(self, path):
    self.path = pathlib.Path(path).expanduser().absolute()
    self.config = self.path / 'config.json'
    self.run = self.path / 'run.json'
    self.metrics = self.path / 'metrics.jsonl'
    self.postmortem = self.path / 'postmortem.json'
    self.eval = self.path / 'eval.json'
    self.samples = self.path / 'samples.md'
    self.checkpoints = self.path / 'checkpoints'
    self.tokenizer = self.path / 'tokenizer'
    self.cache = self.path / 'cache'
    self.tensorboard = self.path / 'tensorboard'
    self.figures = self.path / 'figures'
    self.logs = self.path / 'logs'
    self.profile = self.path / 'profile'

  def __fspath__(self):
    return str(self.path)

  def __str__(self):
    return str(self.path)

  def create(self):
    """Returns self after making the folder and proving that it can be written.

    Raises StorageError naming the folder, the reason and the way out.
    """
    files.check_writable(self.path)
    return self

  @contextlib.contextmanager
  def lock(self):
    """Returns a context manager: no other run writes here while its block runs.

    The first process of a run holds it. Raises StorageError naming who writes here now,
    on all processes.
    """
    is_ours = jax.process_index() == 0
    holder = workdir_lock.held(self.path) if is_ours else contextlib.nullcontext()
    with contextlib.ExitStack() as stack:
      sync.raise_on_all(lambda: stack.enter_context(holder))
      yield

  def write_config(self, config):
    """Replaces config.json by `config`, nested dicts of JSON values."""
    files.write_json(self.config, config)

  def read_config(self):
    """Returns config.json as nested dicts, or None where no run has started yet.

    Fields have today's names, whichever version saved them (`config.migrate`). Raises
    CheckpointError when it cannot be read.
    """
    if not self.config.exists():
      return None
    try:
      saved = files.read_json(self.config)
    except StorageError as error:
      raise CheckpointError(str(error)) from error
    if not isinstance(saved, dict):
      raise CheckpointError(f'{self.config} holds no config; restore it from a copy.')
    return migrate.read_saved(saved, self.path)

  def add_start(self, entry):
    """Appends `entry` (see `provenance`) to run.json; earlier starts stay."""
    self._write_record(starts=[*self.starts(), entry])

  def starts(self):
    """Returns the entries of run.json, the oldest first."""
    return self._record().get('starts', [])

  def write_events(self, events):
    """Replaces the events in run.json: steps without an update, rollbacks."""
    self._write_record(events=list(events))

  def events(self):
    """Returns the events of run.json, the oldest first."""
    return self._record().get('events', [])

  def _record(self):
    return files.read_json(self.run) if self.run.exists() else {}

  def _write_record(self, **entries):
    files.write_json(self.run, self._record() | entries)


def provenance(*, now, argv=None):
  """Returns what it takes to know later which program ran here, as JSON values.

  `now` is an aware datetime, the moment of the start; `argv` defaults to the command
  line of this process. Asks jax for its devices, so distributed set-up comes before.
  """
  devices = jax.devices()
  return dict(
    time=now.isoformat(timespec='seconds'),
    argv=list(sys.argv if argv is None else argv),
    git=git_state(pathlib.Path(__file__).parent),
    python=platform.python_version(),
    versions={package: _version(package) for package in PACKAGES},
    devices=dict(
      platform=devices[0].platform, kind=devices[0].device_kind, count=len(devices)
    ),
    processes=jax.process_count(),
    hostname=socket.gethostname(),
    system=platform.platform(),
  )


def git_state(folder):
  """Returns `{commit, dirty, patch, untracked}` of the code in `folder`, or None.

  None: installed from a package, or no git here. A folder that merely lies inside
  somebody's repository (an environment in a project) does not count as its code.
  `patch` is the diff from `commit`; only the names of untracked files are kept.
  """
  if not _git(folder, 'ls-files', '--', '.'):
    return None
  root = _git(folder, 'rev-parse', '--show-toplevel').strip()
  patch = _git(root, 'diff', 'HEAD', '--no-color', '--no-ext-diff')
  untracked = _git(root, 'ls-files', '--others', '--exclude-standard').splitlines()
  if len(patch) > MAX_PATCH_CHARS:
    patch = patch[:MAX_PATCH_CHARS] + f'\n... cut: {len(patch)} characters in all\n'
  return dict(
    commit=_git(root, 'rev-parse', 'HEAD').strip(),
    dirty=bool(patch or untracked),
    patch=patch,
    untracked=untracked,
  )


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _git(folder, *arguments):
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
