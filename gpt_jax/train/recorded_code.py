"""The code that a run was trained with: here, or checked out in a temporary folder."""

import contextlib
import dataclasses
import pathlib
from typing import Any

from gpt_jax.core.errors import ConfigError
from gpt_jax.workdir import checkout, provenance

CHOICES = ('checkout', 'here')
_WAY_OUT = 'with --commit=here the code as it is now is run in its place'


@dataclasses.dataclass(frozen=True)
class Code:
  """A folder that holds the package."""

  root: pathlib.Path
  commit: str | None  # of what stands there
  description: str
  notes: list[str]


def choose(run, config, commit='checkout'):
  """Returns a context manager that gives the Code for a run that starts anew.

  Args:
    run: a run_diff.Run; the code is that of its first steps.
    config: nested dicts, which may name plug-ins.
    commit: one of CHOICES.
  Raises ConfigError where the recorded code cannot be had, with the way out.
  """
  state = run.first_start.get('git')
  now = provenance.git_state(provenance.CODE)
  if commit == 'here':
    notes = [] if state and state == now else [_difference(state, now)]
    return contextlib.nullcontext(_here(now, 'the code as it is here', notes))
  if not state:
    raise ConfigError(
      f'{run.workdir}: has recorded no commit, its code was in no git repository;'
      f' {_WAY_OUT}.'
    )
  mine, plug_ins = _untracked(state, config)
  if now and (now['commit'], now['patch']) == (state['commit'], state['patch']):
    notes = [_as_it_is(file) for file in mine + plug_ins]
    return contextlib.nullcontext(_here(now, 'the same code, as it is here', notes))
  if mine:
    raise ConfigError(
      f'{run.workdir}: of its code only the names are recorded of {", ".join(mine)},'
      f' which git did not have; {_WAY_OUT}.'
    )
  return _checked_out(run, state, now, [_as_it_is(file) for file in plug_ins])


def _here(now, description, notes):
  commit = now['commit'] if now else None
  return Code(provenance.CODE.parent, commit, description, notes)


def _checked_out(run, state, now, notes):
  root = checkout.root_of(provenance.CODE)
  commit = state['commit']
  if root is None:
    raise ConfigError(
      f'{run.workdir}: trained with commit {commit[:10]}, and the package here'
      f' ({provenance.CODE}) is in no git repository to check it out from; {_WAY_OUT}.'
    )
  if not checkout.has_commit(root, commit):
    raise ConfigError(
      f'{run.workdir}: trained with commit {commit[:10]}, which {root} does not have;'
      f' fetch it (git fetch --all), or {_WAY_OUT}.'
    )
  if len(state['patch']) > provenance.MAX_PATCH_CHARS:
    raise ConfigError(
      f'{run.workdir}: its uncommitted changes were too long to be recorded whole;'
      f' {_WAY_OUT}.'
    )
  return _worktree(root, state, now, notes)


@contextlib.contextmanager
def _worktree(root, state, now, notes):
  name = f'commit {state["commit"][:10]}'
  if state['patch']:
    files = checkout.changed_lines(state['patch'])
    name += f' with its uncommitted changes ({", ".join(files)})'
  here = 'here is ' + (f'{now["commit"][:10]}' if now else 'no commit')
  if now and now['patch']:
    here += (
      ' with other changes' if now['commit'] == state['commit'] else ' and changes'
    )
  inside = provenance.CODE.parent.resolve().relative_to(root.resolve())
  with checkout.worktree(root, state['commit'], state['patch']) as folder:
    yield Code(
      folder / inside, state['commit'], f'{name}, checked out ({here})', list(notes)
    )


def _difference(state, now):
  if not state:
    return 'the run has recorded no commit: its code may have been another'
  recorded = state['commit'][:10] + (' and changes' if state['dirty'] else '')
  present = 'no commit'
  if now:
    present = now['commit'][:10] + (' and changes' if now['dirty'] else '')
  return f'the run was trained with {recorded}, this is {present}'


def _untracked(state, config):
  """Returns files that git did not have: of the package, and plug-ins of `config`."""
  package = provenance.CODE.name
  modules = {
    f'{name.partition(":")[0].replace(".", "/")}.py' for name in _names(config)
  }
  code = [file for file in state['untracked'] if file.endswith('.py')]
  mine = [file for file in code if package in pathlib.PurePath(file).parts[:-1]]
  others = [file for file in code if any(file.endswith(name) for name in modules)]
  return mine, [file for file in others if file not in mine]


def _as_it_is(file):
  return f'{file} was not in git: it is read as it is now'


def _names(tree: Any):
  """Yields the plug-ins, `package.module:attribute`, in a config."""
  if isinstance(tree, dict):
    tree = list(tree.values())
  if isinstance(tree, list):
    for value in tree:
      yield from _names(value)
  elif isinstance(tree, str) and ':' in tree and tree[0] != ':' and '/' not in tree:
    yield tree
