"""Which steps of a folder are as they were saved, and where damaged ones go."""

import jax

from gpt_jax.checkpoints import digests, handler, manifest, ocdbt
from gpt_jax.core.errors import StorageError
from gpt_jax.parallel.sync import any_process
from gpt_jax.storage.objects import is_whole, names_in
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import files

META = 'meta'  # the item that holds the JSON record of a step
DAMAGED = '.damaged'  # ends the folder names of quarantined steps


class Integrity:
  """What is known of the steps in `directory`; all processes make the same calls."""

  def __init__(self, directory):
    self._directory = place(directory)
    self._valid = set()  # steps that are not read again

  def find_damage(self, step, on_bytes=None, item=None):
    """Returns None for a valid step, else lines that name it and its damaged files.

    Each process compares a share of the files (those of `item`, if given), and names
    the damage that it saw.
    """
    if step in self._valid:
      return None
    folder = self._directory / str(step)
    share = (jax.process_index(), jax.process_count())
    damages = digests.links(folder)
    if not damages and not self.predates_digests(step):
      damages = digests.verify(folder, share=share, on_bytes=on_bytes, item=item)
      if not damages and item is None and jax.process_index() == 0:
        damages = _unreadable(folder)
    if not any_process(damages):
      if item is None:
        self._valid.add(step)
      return None
    listed = digests.describe(damages) or '  (seen by another process)'
    return f'{folder} is damaged:\n{listed}'

  def predates_digests(self, step):
    """Returns whether `step` is a readable one, saved before there were digests."""
    folder = self._directory / str(step)
    if (folder / manifest.FILE).exists():
      return False
    try:
      record = handler.read_record(folder / META)
      return 'meta' in record and 'digests' not in record
    except StorageError:  # the bucket does not answer: that is no damage
      raise
    except Exception:  # damaged, in any way
      return False

  def invalidate(self, step):
    self._valid.discard(step)

  def quarantine(self, step):
    """Returns the new folder of a damaged step, under a name that says so."""
    place, number = self._directory / f'{step}{DAMAGED}', 2
    while place.exists():
      place, number = self._directory / f'{step}{DAMAGED}-{number}', number + 1
    any_process(False)  # a barrier: all have chosen the name before it is taken
    if jax.process_index() == 0:
      (self._directory / str(step)).rename(place)
      files.sync_folder(self._directory)
    any_process(False)
    return place


def _unreadable(folder):
  """Returns Damage for each item that was saved incomplete, digests and all."""
  # Up to commit 410d940 nothing read a save back before it was a step.
  damages = []
  if is_remote(folder):
    return damages  # all of those were saved later
  for tree in sorted(folder.glob(f'*/{ocdbt.TREE}')):
    try:
      ocdbt.require_complete(tree.parent)
    except StorageError as error:
      damages.append(digests.Damage(tree.parent.name, f'saved incomplete: {error}'))
  return damages


def committed(directory):
  """Returns the steps that are whole: their folder gets its plain name last.

  In a bucket, which renames nothing, an object is written last and goes first.
  """
  if is_remote(directory):
    steps = sorted(int(name) for name in names_in(directory) if name.isdecimal())
    return [step for step in steps if is_whole(directory / str(step))]
  if not directory.is_dir():
    return []
  return sorted(int(p.name) for p in directory.iterdir() if p.name.isdecimal())


def quarantined_steps(directory):
  """Returns the folders of damaged steps that were quarantined, sorted."""
  return sorted(place(directory).glob(f'[0-9]*{DAMAGED}*'))
