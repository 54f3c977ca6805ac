"""Points that another experiment file has run: one that was renamed, or copied.

A renamed file would train all of them once more; the copy with which an ablation begins
should. What tells them apart is whether the file that ran them is still there.
"""

import pathlib
import shlex

from gpt_jax.core.errors import ConfigError
from gpt_jax.storage.urls import is_remote, move_command
from gpt_jax.sweeps import states
from gpt_jax.workdir import provenance
from gpt_jax.workdir.paths import Workdir


def require_not_renamed(study):
  """Returns notes on points that other files have run with the same configs.

  Raises ConfigError where such a file is gone and has run nothing but points of
  `study`. Once `study` has a folder of its own, nothing is said.
  """
  if study.folder.exists():
    return []
  by_name = {point.name: point for point in study.points}
  notes = []
  for other in sorted(study.folder.parent.parent.glob(f'*/{study.size}')):
    ran = [path.parent for path in sorted(other.glob('*/config.json'))]
    same = [run for run in ran if _is_same(by_name.get(run.name), run)]
    if not same:
      continue
    file = _file_of(same[0], study.path.with_name(f'{other.parent.name}.py'))
    found = f'{len(same)} of its {len(by_name)} points are in {other}, run by {file}'
    if not file.exists() and len(same) == len(ran):
      move = move_command(other.parent, study.folder.parent)
      again = f'mkdir -p {shlex.quote(str(study.folder))}'
      if is_remote(study.folder):  # where no folder is without a file
        again = 'the same command with another --workdir'
      raise ConfigError(
        f'{study.path}: {found}, which is gone. Was the file renamed? Then move its'
        f' runs along:\n  {move}\nTo run them again:\n  {again}'
      )
    notes.append(f'{found}: they run again for {study.path}')
  return notes


def _is_same(point, workdir):
  saved = states.read_saved_config(workdir) if point else None
  return bool(saved) and not states.changed_fields(point, saved)


def _file_of(workdir, beside):
  """Returns the experiment file that has run `workdir`: `beside`, or as recorded."""
  starts = provenance.read_starts(Workdir(workdir))
  words = [word for start in starts[-1:] for word in start.get('argv', ())]
  named = [pathlib.Path(word) for word in words if word.endswith(f'/{beside.name}')]
  named += [pathlib.Path(word) for word in words if word == beside.name]
  return next((file for file in [beside, *named] if file.exists()), (*named, beside)[0])
