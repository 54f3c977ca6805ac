"""Orders of all items for a user, by each method: the part that is used and judged."""

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import choose
from gpt_jax.recommend import candidates, scorers

CANDIDATES = 'candidates'
TEXT = 'text model'
FUSED = 'text model and candidates'
WITH_TEXT = (TEXT, FUSED)
VECTORS = 'text vectors'
FIRST_STAGE = ('popularity', 'co-occurrence', VECTORS)


class Recommender:
  """All methods, fitted on what users liked."""

  def __init__(
    self, catalogue, histories, *, vectors_ID=None, ranker=None, seed=0,
    count=candidates.COUNT,
  ):  # fmt: skip
    """Takes histories of rows, vectors of the items' texts, and a `ranker.Ranker`.

    Without vectors or ranker there are no methods that need them. `count`: candidates
    that the text model orders.
    """
    self.catalogue, self._ranker, self._count = catalogue, ranker, count
    self.scorers = {
      name: fit(
        histories, len(catalogue), **({'seed': seed} if _is_random(fit) else {})
      )
      for name, fit in scorers.METHODS.items()
    }
    if vectors_ID is not None:
      self.scorers[VECTORS] = scorers.TextVectors(vectors_ID)
    self.stage = [self.scorers[name] for name in FIRST_STAGE if name in self.scorers]

  @property
  def methods(self):
    """Names of the methods, simple ones first."""
    return [*self.scorers, CANDIDATES, *([TEXT, FUSED] if self._ranker else [])]

  def orders(self, cases, methods=None, progress=None):
    """Returns {method: [rows of all unseen items, best first, of each case]}.

    `progress`: as that of `Run.predict`. Raises ConfigError for an unknown method.
    """
    methods = self.methods if methods is None else methods
    for name in methods:
      choose(dict.fromkeys(self.methods), name, '--method')
    found = {
      name: [candidates.order(scorer.scores(c.history), c.seen) for c in cases]
      for name, scorer in self.scorers.items()
      if name in methods
    }
    if {CANDIDATES, TEXT, FUSED}.isdisjoint(methods):
      return found
    staged = [candidates.first_stage(self.stage, c.history, c.seen) for c in cases]
    found[CANDIDATES] = staged
    if not {TEXT, FUSED}.isdisjoint(methods):
      found |= self._ranked(cases, staged, progress)
    return {name: found[name] for name in methods}

  def _ranked(self, cases, staged, progress):
    """Returns the orders of TEXT and FUSED: the first candidates in another order."""
    assert self._ranker is not None
    heads = [rows[: self._count] for rows in staged]
    asked = [
      (case.history, [int(row) for row in head])
      for case, head in zip(cases, heads, strict=True)
    ]
    found = {TEXT: [], FUSED: []}
    every = self._ranker.scores(asked, progress)
    for rows, head, scores in zip(staged, heads, every, strict=True):
      by_text = head[candidates.order(scores)]
      fused_I = candidates.fuse([by_text, head], len(self.catalogue))
      both = sorted(head, key=lambda row, fused_I=fused_I: -fused_I[row])
      for name, first in ((TEXT, by_text), (FUSED, both)):
        found[name].append([*first, *rows[self._count :]])
    return found

  def recommend(self, case, method, top):
    """Returns the rows of the best `top` items; ConfigError where there are fewer."""
    left = len(self.catalogue) - len(case.seen)
    if not 1 <= top <= left:
      raise ConfigError(
        f'--top={top}: expected 1 to {left:,}: of the {len(self.catalogue):,} items'
        f' {len(case.seen):,} are known to the user.'
      )
    (order,) = self.orders([case], [method])[method]
    return [int(row) for row in order[:top]]


def _is_random(fit):
  return 'seed' in (fit.__kwdefaults__ or {})
