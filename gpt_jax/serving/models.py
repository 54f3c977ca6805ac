"""The models of a server by name, from a list that is fixed at its start."""

import asyncio
import contextlib
import dataclasses
import pathlib
from typing import Any

from gpt_jax import api
from gpt_jax.core.errors import ConfigError
from gpt_jax.serving import model as model_of
from gpt_jax.serving.errors import ApiError
from gpt_jax.serving.model import Model, Source


@dataclasses.dataclass(frozen=True)
class Served:
  """What a name of the API stands for."""

  name: str
  model: Model
  adapter: str | None


def parse_sources(workdirs, adapters):
  """Returns the Sources of `--workdir=NAME=DIR` and `--adapter=NAME=DIR` flags.

  Names of runs may be left out: the last part of the path. With several runs an adapter
  says over which one: MODEL/NAME=DIR. Raises ConfigError for names given twice.
  """
  paths, over = {}, {}
  for text in workdirs:
    name, equals, path = text.partition('=')
    if not equals or '/' in name:
      name, path = pathlib.PurePath(text).name, text
    if name in paths:
      raise ConfigError(
        f'--workdir: two models are named {name!r}; name them: --workdir=NAME={text}.'
      )
    paths[name], over[name] = path, {}
  names = set(paths)
  for text in adapters:
    name, equals, path = text.partition('=')
    base, slash, name_of = name.partition('/')
    base, name = (base, name_of) if slash else (None, name)
    if base is None and len(paths) == 1:
      base = next(iter(paths))
    if not (equals and name and path) or base not in paths:
      raise ConfigError(
        f'--adapter={text}: expected NAME=DIR, with several --workdir MODEL/NAME=DIR of'
        f' {", ".join(paths)}.'
      )
    if name in names:
      raise ConfigError(f'--adapter={text}: {name!r} is the name of another model.')
    names.add(name)
    over[base][name] = path
  return [Source(name, path, over[name]) for name, path in paths.items()]


class Models:
  """Loaded models by name. Used on one event loop; loading goes on in threads."""

  def __init__(
    self,
    sources,
    overrides=None,
    chat_template=None,
    load=model_of.load,
    newest=api.newest_step,
    warm_up=lambda model: None,
  ):
    """Loads all of the Sources.

    Args:
      overrides, chat_template: as `model.load` takes them.
      load: `(source, overrides, chat_template) -> Model`.
      newest: `path -> step` that `load` would take; None: it has no steps.
      warm_up: called with each Model before it is asked.
    """
    self._newest, self._warm_up = newest, warm_up
    self._read = lambda source: load(source, overrides, chat_template)
    self._models = {}
    self._closing = set()
    self._reloading = asyncio.Lock()
    self.on_death: Any = lambda error: None
    """Called with what ended the scheduler of a model."""
    for source in sources:
      self._put(self._load(source))

  def _load(self, source):
    model = self._read(source)
    self._warm_up(model)
    return model

  def _put(self, model):
    self._models[model.source.name] = model
    if model.texts is not None:
      model.texts.on_death = lambda error: self.on_death(error)

  def __iter__(self):
    return iter(self._models.values())

  def served(self):
    """Returns what each name stands for, in order."""
    return [
      Served(name, model, name if name != model.source.name else None)
      for model in self
      for name in (model.source.name, *model.source.adapters)
    ]

  def get(self, name):
    """Returns the Served of a name; ApiError 404 for one that is not in the list."""
    for served in self.served():
      if served.name == name:
        return served
    raise ApiError(
      404,
      f'model: {name[:80]!r} is not served here; /v1/models lists those that are.',
      code='model_not_found',
      param='model',
    )

  @contextlib.contextmanager
  def used(self, served):
    """Keeps a model open while a request uses it."""
    model = served.model
    model.num_requests += 1
    try:
      yield model
    finally:
      model.num_requests -= 1
      self._close_if_idle(model)

  @property
  def error(self):
    """What ended the scheduler of a model; None: all work."""
    return next((m.error for m in self if m.error is not None), None)

  async def reload(self):
    """Loads the newest step of each model; returns {name: (old, new step)}.

    New requests go to the new one at once; the old one is closed when its last request
    has ended. A model that cannot be loaded stays as it was, and its error is raised.
    """
    async with self._reloading:
      steps = {}
      for old in list(self):
        newest = await asyncio.to_thread(self._newest, old.source.path)
        if newest in (None, old.run.step):
          steps[old.source.name] = old.run.step, old.run.step
          continue
        new = await asyncio.to_thread(self._load, old.source)
        steps[old.source.name] = old.run.step, new.run.step
        self._put(new)
        self._closing.add(old)
        self._close_if_idle(old)
      return steps

  def _close_if_idle(self, model):
    if model in self._closing and not model.num_requests:
      self._closing.discard(model)
      asyncio.get_running_loop().run_in_executor(None, model.close)

  def close(self):
    """Ends all texts."""
    for model in [*self, *self._closing]:
      model.close()
