"""Several paths in one flag, with commas between them: `runs/a,runs/b`."""

import os


def split(text, path_of=lambda part: part):
  """Returns the parts of `text` between commas, without spaces around them.

  What is there as a file or folder is one part, though its name has commas, as the runs
  of a sweep do (`LoRA,seed=1`). `path_of(part)` is its path.
  """
  pieces, found = text.split(','), []
  while pieces:
    candidates = ((n, ','.join(pieces[:n]).strip()) for n in range(len(pieces), 0, -1))
    is_there = ((n, part) for n, part in candidates if os.path.exists(path_of(part)))
    count, part = next(is_there, (1, pieces[0].strip()))
    found.append(part)
    del pieces[:count]
  return found
