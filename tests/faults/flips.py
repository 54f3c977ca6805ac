"""Damages files of saved steps, one at a time, and looks whether a run would notice.

`run_flips(count, seed)` is one row of the fault table; the short tests call it with a
few tries, the long lane with a thousand.
"""

import collections
import pathlib
import random
import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.checkpoints import digests, manager, ocdbt
from gpt_jax.core.errors import CheckpointError

FAULT = 'one bit flipped, a file cut or deleted, anywhere in the newest step'
STEPS = (1, 2, 3)


def arrays(step):
  """Returns the items of a small state, other numbers in each step."""
  key = jax.random.key(step)
  return {
    'params': {
      'embed': jax.random.normal(key, (64, 32)),
      'block': {'kernel': jax.random.normal(key, (32, 32), jnp.bfloat16)},
    },
    'train': {'step': jnp.int32(step), 'mu': jax.random.normal(key, (9, 99))},
  }


def open_folder(folder):
  return manager.Checkpoints(
    folder, keep_last=9, keep_best=0, best_metric='', asynchronous=False
  )


def make_steps(folder):
  """Saves STEPS in `folder` and returns it."""
  with open_folder(folder) as store:
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


def cut(path, rng):
  content = path.read_bytes()
  path.write_bytes(content[: rng.randrange(len(content))])


def delete(path, _):
  path.unlink()


DAMAGES = {'flipped': flip, 'cut': cut, 'deleted': delete}


def files_of(step_folder):
  """Returns the files of a step, sorted."""
  return sorted(path for path in step_folder.rglob('*') if path.is_file())


def outcome(template, scratch, file, damage, rng):
  """Returns (what became of a damaged copy of `template`, what was said).

  'noticed': the file was named, the step set aside, the one before restored.
  'harmless': not named, and restored bit for bit. 'LOST': anything else.
  """
  shutil.rmtree(scratch, ignore_errors=True)
  shutil.copytree(template, scratch)
  newest = STEPS[-1]
  DAMAGES[damage](scratch / str(newest) / file, rng)
  said = []
  with open_folder(scratch) as store:
    try:
      step = store.latest_valid_step(said.append)
      got = restore(store, step)
    except CheckpointError as error:
      return 'LOST', str(error)
    is_equal = same(got, arrays(step)) and store.read_meta(step)['next_sample'] == step
  text = '\n'.join(said)
  if step == newest and is_equal and not said:
    return 'harmless', text
  aside = scratch / f'{newest}.damaged'
  noticed = step == STEPS[-2] and is_equal and aside.is_dir() and str(file) in text
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

  A file is drawn by its size for flips, so that large ones get more, and evenly for the
  rest. `nothing_lost`: no try ended as LOST, and only the files that Orbax adds after
  the digests (`digests.LATE`) were harmless.
  """
  rng = random.Random(seed)
  outcomes, message, lost = collections.Counter(), '', []
  with tempfile.TemporaryDirectory() as folder:
    template = make_steps(pathlib.Path(folder) / 'whole')
    newest = template / str(STEPS[-1])
    files = [path.relative_to(newest) for path in files_of(newest)]
    sizes = [(newest / file).stat().st_size for file in files]
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
  return dict(
    fault=FAULT,
    tries=count,
    outcomes=dict(sorted(outcomes.items())),
    nothing_lost=not lost,
    message='\n'.join(lost) or message,
  )
