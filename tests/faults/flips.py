"""Damages files of saved steps, one at a time, and checks that a run would notice.

`run_flips(count, seed)` returns a row; the tests call it with a few tries, the lane
with a thousand.
"""

import collections
import pathlib
import random
import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.checkpoints import digests, ocdbt
from gpt_jax.core.errors import CheckpointError
from tests.checkpoints.states import open_all
from tests.faults import runs

FAULT = 'one bit flipped, a file truncated or deleted, anywhere in the latest step'
STEPS = (1, 2, 3)


def arrays(step):
  """Returns the items of a small state, with different numbers in each step."""
  key = jax.random.key(step)
  return {
    'params': {
      'embed': jax.random.normal(key, (64, 32)),
      'block': {'kernel': jax.random.normal(key, (32, 32), jnp.bfloat16)},
    },
    'train': {'step': jnp.int32(step), 'mu': jax.random.normal(key, (9, 99))},
  }


def make_steps(folder):
  """Saves STEPS in `folder` and returns it."""
  with open_all(folder) as store:
    for step in STEPS:
      store.save(step, arrays(step), {'next_sample': step})
  return pathlib.Path(folder)


def flip(path, rng):
  content = bytearray(path.read_bytes())
  content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  path.write_bytes(content)


def flip_parameter(step_folder):
  """Flips a bit of an array of `params`; returns the path of its file.

  Which of the files hold indices, and where, differs from save to save.
  """
  item = step_folder / 'params'
  file, start = next(
    (file, chunk.start)
    for file, chunks in ocdbt.readable_chunks(item).items()
    for chunk in chunks
    if chunk.arrays
  )
  path = item / file
  content = bytearray(path.read_bytes())
  content[start] ^= 1
  path.write_bytes(content)
  return path


def truncate(path, rng):
  content = path.read_bytes()
  path.write_bytes(content[: rng.randrange(len(content))])


def delete(path, _):
  path.unlink()


DAMAGES = {'flipped': flip, 'truncated': truncate, 'deleted': delete}


def files_of(step_folder):
  """Returns the files of a step, sorted."""
  return sorted(path for path in step_folder.rglob('*') if path.is_file())


def outcome(template, scratch, file, damage, rng):
  """Returns (what became of a damaged copy of `template`, what was reported).

  'noticed': the file was named, the step quarantined, the one before restored.
  'harmless': not named, and restored bit for bit. 'LOST': anything else.
  """
  shutil.rmtree(scratch, ignore_errors=True)
  shutil.copytree(template, scratch)
  latest = STEPS[-1]
  DAMAGES[damage](scratch / str(latest) / file, rng)
  reports = []
  with open_all(scratch) as store:
    try:
      step = store.latest_valid_step(reports.append)
      got = restore(store, step)
    except CheckpointError as error:
      return 'LOST', str(error)
    is_equal = same(got, arrays(step)) and store.read_meta(step)['next_sample'] == step
  text = '\n'.join(reports)
  if step == latest and is_equal and not reports:
    return 'harmless', text
  is_moved = (scratch / f'{latest}.damaged').is_dir()
  noticed = step == STEPS[-2] and is_equal and is_moved and str(file) in text
  return ('noticed' if noticed else 'LOST'), text


def restore(store, step):
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  wanted = {item: store.abstract(step, item, here) for item in store.items(step)}
  return store.restore(step, wanted)


def same(got, wanted):
  pairs = zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True)
  return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def run_flips(count, seed):
  """Returns the row of `count` damages to random files, a third of each kind.

  Half of the flips draw a file by its size, so that large ones get more; all else draws
  evenly. `nothing_lost`: no try ended as LOST, and only the files that Orbax adds after
  the digests (`digests.LATE`) were harmless.
  """
  rng = random.Random(seed)
  outcomes, message, lost = collections.Counter(), '', []
  with tempfile.TemporaryDirectory() as folder:
    template = make_steps(pathlib.Path(folder) / 'undamaged')
    latest = template / str(STEPS[-1])
    files = [path.relative_to(latest) for path in files_of(latest)]
    sizes = [(latest / file).stat().st_size for file in files]
    for number in range(count):
      damage = list(DAMAGES)[number % len(DAMAGES)]
      weights = sizes if damage == 'flipped' and number % 2 else None
      (file,) = rng.choices(files, weights)
      scratch = pathlib.Path(folder) / 'damaged'
      result, text = outcome(template, scratch, file, damage, rng)
      is_late = str(file) in digests.LATE
      outcomes[f'{damage}: {result}'] += 1
      if result == 'LOST' or (result == 'harmless' and not is_late):
        lost.append(f'{damage} {file}: {result} {text}')
      message = message or text.replace(str(scratch), 'checkpoints')
  return runs.row(FAULT, outcomes, not lost, '\n'.join(lost) or message)
