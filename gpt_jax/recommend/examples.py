"""What the text model learns from: liked items, and candidates that were not."""

import json

import numpy as np

from gpt_jax.recommend import candidates
from gpt_jax.recommend.ranker import example
from gpt_jax.recommend.split import Case
from gpt_jax.workdir import files

NEGATIVES = 3  # of the candidates, to each item that was liked


def write(path, catalogue, cases, scorers, *, limit, seed, progress=iter):
  """Writes JSON lines of the task recommendation; returns their number.

  For each of at most `limit` drawn (case, liked item): the item with label 1 and
  NEGATIVES of the candidates that the first stage gives for the same history, which the
  user has not rated and did not like later, with label 0.
  """
  rng = np.random.default_rng(seed)
  pairs = [(case, row) for case in cases for row in sorted(case.relevant)]
  chosen = sorted(rng.permutation(len(pairs))[:limit])
  lines = []
  for number in progress(chosen):
    case, row = pairs[number]
    found = candidates.first_stage(scorers, case.history, case.seen)
    found = [one for one in found[: candidates.COUNT] if one not in case.relevant]
    count = min(NEGATIVES, len(found))
    negatives = rng.choice(found, count, replace=False) if count else ()
    for label, each in [(1, row), *((0, int(one)) for one in negatives)]:
      line = example(catalogue, case.history, each)
      line |= dict(label=label, user=case.user, item=catalogue.ids[each])
      lines.append(json.dumps(line, ensure_ascii=False))
  files.write_text(path, '\n'.join(lines) + '\n')
  return len(lines)


def moments(split):
  """Yields a Case for each liked item of the training that came after another one.

  `seen` is all else that the user rated in the training, so that nothing of it is taken
  for a negative; `relevant` is the one item.
  """
  rated = {}
  for user, row in split.rated:
    rated.setdefault(user, set()).add(row)
  for user, liked in split.train.items():
    for place in range(1, len(liked)):
      own = liked[place]
      if own not in liked[:place]:
        seen = frozenset(rated[user] - {own})
        yield Case(user, liked[:place], seen, frozenset({own}))
