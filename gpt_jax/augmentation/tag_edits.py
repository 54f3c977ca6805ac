"""Edits of words with tags: words tagged O change, and each entity stays as it is.

An edit takes lists of words and tags, a rate, a generator and a SynonymTable or None,
and returns both.
"""

from gpt_jax.augmentation import word_edits

OUTSIDE = 'O'


def synonyms(words, tags, rate, rng, table):
  """Returns words with synonyms of about `rate` of those outside that have any."""
  edited = list(words)
  for i, (word, tag) in enumerate(zip(words, tags, strict=True)):
    known = [each for each in table.of(word) if not each.split()[1:]]  # one word each
    if tag == OUTSIDE and known and rng.random() < rate:
      chosen = known[rng.integers(len(known))]
      edited[i] = chosen[0].upper() + chosen[1:] if word[:1].isupper() else chosen
  return edited, list(tags)


def random_swap(words, tags, rate, rng, table=None):
  """Returns words with pairs of those outside in each other's place."""
  edited = list(words)
  outside = [i for i, tag in enumerate(tags) if tag == OUTSIDE]
  swaps = word_edits.count(rate, len(outside), rng) if len(outside) > 1 else 0
  for _ in range(swaps):
    i, j = rng.choice(outside, 2, replace=False)
    edited[i], edited[j] = edited[j], edited[i]
  return edited, list(tags)


def random_delete(words, tags, rate, rng, table=None):
  """Returns words and tags without `rate` of those outside, but with one at least.

  The last word between two entities stays, so that they do not become one.
  """
  draws = rng.random(len(words))
  kept = []
  for i, tag in enumerate(tags):
    divides = (
      bool(kept)
      and tags[kept[-1]] != OUTSIDE
      and i + 1 < len(tags)
      and tags[i + 1] != OUTSIDE
    )
    if tag != OUTSIDE or divides or draws[i] >= rate:
      kept.append(i)
  if not kept and len(words):
    kept = [int(rng.integers(len(words)))]
  return [words[i] for i in kept], [tags[i] for i in kept]


EDITS = {'synonyms': synonyms, 'swap': random_swap, 'delete': random_delete}
"""Name of its rate -> edit, in the order in which they are made."""
