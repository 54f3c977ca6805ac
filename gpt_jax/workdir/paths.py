"""The folder of a run and the names of its files.

config.json    the resolved config        checkpoints/  one folder a step
run.json       starts and events          tokenizer/    what was learned or copied
metrics.jsonl  metrics, a line a step     cache/        tokens of the data sources
eval.json      the last evaluation        tensorboard/  the same metrics
tasks.json     the last benchmarks asked
predictions/   of a task, a file a set   report.html   of a fine-tuning
scores.json    the tables behind eval.json of a task
baselines.json what predictors without a network score on it
eval_ensemble.json  of several runs of a task together
samples.md     generated text             figures/      PNGs
logs/          output of other processes  profile/      traces
lock.json      who is training here now
postmortem.json  how a run ended that diverged
failure.json   why a point of a sweep failed

Of a run in a bucket, cache/ and logs/ lie on this machine, since both are mapped or
appended to, and metrics.jsonl/ is a folder of parts.
"""

import contextlib

import jax

from gpt_jax.config import migrate
from gpt_jax.core.errors import CheckpointError, StorageError
from gpt_jax.parallel import sync
from gpt_jax.storage import objects, scratch, urls
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files, shared
from gpt_jax.workdir import lock as workdir_lock


class Workdir:
  """The paths of a run's folder. Making one touches no disk; `create` does."""

  def __init__(self, path):
    self.path = files.as_folder(path)
    self.config = self.path / 'config.json'
    self.run = self.path / 'run.json'
    self.metrics = self.path / 'metrics.jsonl'
    self.postmortem = self.path / 'postmortem.json'
    self.failure = self.path / 'failure.json'
    self.eval = self.path / 'eval.json'
    self.tasks = self.path / 'tasks.json'
    self.predictions = self.path / 'predictions'
    self.scores = self.path / 'scores.json'
    self.baselines = self.path / 'baselines.json'
    self.ensemble = self.path / 'eval_ensemble.json'
    self.report = self.path / 'report.html'
    self.samples = self.path / 'samples.md'
    self.checkpoints = self.path / 'checkpoints'
    self.tokenizer = self.path / 'tokenizer'
    # Tokens are mapped into memory, which an object cannot be.
    is_local = not is_remote(self.path)
    self.cache = self.path / 'cache' if is_local else scratch.folder('tokens')
    self.tensorboard = self.path / 'tensorboard'
    self.figures = self.path / 'figures'
    own = 'logs/' + '/'.join(urls.bucket_and_key(self.path))
    self.logs = self.path / 'logs' if is_local else scratch.folder(own)
    self.profile = self.path / 'profile'

  @property
  def is_remote(self):
    return is_remote(self.path)

  def __fspath__(self):
    return str(self.path)

  def __str__(self):
    return str(self.path)

  def create(self):
    """Returns self after creating the folder; StorageError if it cannot be written."""
    files.require_usable_name(self.path)
    self.require_run_or_empty()
    files.check_writable(self.path)
    return self

  def require_run_or_empty(self):
    """Raises StorageError for a folder that holds anything but a run's files."""
    if self.config.exists() or not self.path.is_dir():
      return
    mine = {path.name for path in vars(self).values() if path != self.path}
    mine |= {workdir_lock.FILE, 'wandb', 'lost+found'}
    try:
      names = objects.names_in(self.path)
    except OSError:  # `check_writable` says why
      return
    others = [
      name
      for name in names
      if name not in mine and not name.startswith(('.', f'{self.tokenizer.name}.'))
    ]
    if others:
      more = f' and {len(others) - 3} more' if len(others) > 3 else ''
      raise StorageError(
        f'{self.path}: holds {", ".join(others[:3])}{more}, but no run; a run fills a'
        f' folder of its own: give a new one, such as {self.path / "run"}.'
      )

  @contextlib.contextmanager
  def lock(self):
    """Keeps other runs from writing here; StorageError, on all processes, names one.

    Gives the lock, on other processes than the first None. It is lost where another
    process takes it over, as it may where this one seems to be dead.
    """
    lock = contextlib.nullcontext()
    if jax.process_index() == 0:
      lock = workdir_lock.holding(self.path)
    with contextlib.ExitStack() as stack:
      held = sync.raise_on_all(lambda: stack.enter_context(lock))
      shared.require_shared(self.path)
      yield held

  def write_config(self, config):
    """Replaces config.json by `config`, nested dicts of JSON values."""
    files.write_json(self.config, config)

  def read_config(self):
    """Returns config.json as nested dicts, None without a run; or CheckpointError."""
    if not self.config.exists():
      return None
    try:
      saved = files.read_json(self.config)
    except StorageError as error:
      raise CheckpointError(str(error)) from error
    if not isinstance(saved, dict):
      raise CheckpointError(f'{self.config} holds no config; restore it from a copy.')
    return migrate.read_saved(saved, self.path)  # under today's field names
