"""What global steps have surveyed and decided, in files that all processes read.

`OUT/steps/0-NAME/` has `00017.npy`, the survey of a shard, `00017.refused.json`, what
steps for single documents left out of it, `00017.left_out.json`, the decisions about
the others, and `decided.json`, written last.
"""

import array
import hashlib
import io
import itertools
import json

import numpy as np

from gpt_jax.core.errors import StorageError
from gpt_jax.corpus.quality import Decided, Known, LeftOut
from gpt_jax.corpus.shard_files import remove_unfinished, write_json, write_whole
from gpt_jax.corpus.step import GlobalStep, Surveys
from gpt_jax.storage import objects, scratch
from gpt_jax.storage.urls import is_remote
from gpt_jax.workdir import lock


class Decisions:
  """The files of one global step."""

  def __init__(self, out, number, name):
    self.folder = out / 'steps' / f'{number}-{name.replace(":", ".")}'
    self._number = number

  @property
  def are_made(self):
    return self._decided.exists()

  @property
  def _decided(self):
    return self.folder / 'decided.json'

  def _survey(self, shard):
    return self.folder / f'{shard:05d}.npy'

  def _left_out(self, shard):
    return self.folder / f'{shard:05d}.left_out.json'

  def _refused(self, shard):
    return self.folder / f'{shard:05d}.refused.json'

  @property
  def state(self):
    """A folder of this machine for what the step keeps."""
    if not is_remote(self.folder):
      return self.folder / 'state'
    key = hashlib.sha256(str(self.folder).encode()).hexdigest()[:20]
    return scratch.folder('steps') / key

  def surveyed(self):
    """Returns the numbers of the shards whose surveys are there."""
    names = objects.names_in(self.folder)
    return {
      int(name[:-4]) for name in names if name.endswith('.npy') and name[0] != '.'
    }

  def save_survey(self, shard, rows):
    self.folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    np.save(content, rows, allow_pickle=False)
    write_whole(self._survey(shard), content.getvalue())

  def make_once(self, step: GlobalStep, num_shards):
    """Lets the step decide, unless another process does; returns whether it has."""
    try:
      with lock.held(self.folder):
        if not self.are_made:
          self._make(step, num_shards)
    except StorageError:
      if not self.are_made and self.owner is None:  # nobody else is at it
        raise
    return self.are_made

  @property
  def owner(self):
    """Who decides, or has been killed while deciding; None: nobody."""
    return lock.owner(self.folder)

  @property
  def lock(self):
    """The file that its owner leaves behind where it was killed."""
    return self.folder / lock.FILE

  def _make(self, step: GlobalStep, num_shards):
    """Lets the step decide, from the surveys of all shards."""
    remove_unfinished(self.folder)
    counts = [len(self._rows(shard)) for shard in range(num_shards)]
    surveys = Surveys(self._rows, counts)
    starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    # Arrays: of a large corpus many millions are left out.
    numbers, stays, reasons = array.array('q'), array.array('q'), array.array('H')
    texts = {}
    for removal in step.decide(surveys):
      numbers.append(removal.number)
      stays.append(removal.because_of)
      reasons.append(texts.setdefault(removal.reason, len(texts)))
    order, names = np.argsort(numbers, kind='stable'), list(texts)
    bounds = np.searchsorted(np.asarray(numbers)[order], starts)
    for shard, (first, end) in enumerate(itertools.pairwise(bounds.tolist())):
      removals = {
        int(numbers[i] - starts[shard]): [names[reasons[i]], stays[i]]
        for i in order[first:end].tolist()
      }
      if removals:
        write_json(self._left_out(shard), removals)
    write_json(self._decided, {'starts': starts.tolist(), **step.describe()})

  def _rows(self, shard):
    with self._survey(shard).open('rb') as file:
      return np.load(io.BytesIO(file.read()), allow_pickle=False)

  def save_refused(self, shard, refused: Decided):
    """Keeps what `keep` of the steps up to this one has answered about a shard."""
    self.folder.mkdir(parents=True, exist_ok=True)
    found = {number: [one.step, one.reason] for number, one in refused.items()}
    write_json(self._refused(shard), found)

  def refused(self, shard) -> Decided:
    found = json.loads(self._refused(shard).read_text())
    return {int(number): LeftOut(*one) for number, one in found.items()}

  def of_shard(self, shard) -> Decided:
    """Returns {number among the surveyed documents of the shard: LeftOut}."""
    path = self._left_out(shard)
    if not path.exists():
      return {}
    found = json.loads(path.read_text())
    return {int(i): LeftOut(self._number, *rest) for i, rest in found.items()}

  def locate(self, number):
    """Returns (shard, number within its survey) of a surveyed document."""
    starts = json.loads(self._decided.read_text())['starts']
    shard = int(np.searchsorted(starts, number, side='right')) - 1
    return shard, number - starts[shard]


def known(made, shard) -> Known:
  """Returns what is Known of a shard; `made`: {step number: its Decisions}."""
  decided = {number: one.of_shard(shard) for number, one in made.items()}
  if not made:
    return Known(decided)
  last = max(made)
  return Known(decided, last, made[last].refused(shard))
