"""An Engine that writes several tokens a pass: `inference.draft`."""

import dataclasses
import functools

import jax
import numpy as np

from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import cache_memory, placement, speculation
from gpt_jax.inference.context import Contexts
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.model_draft import ModelDraft
from gpt_jax.inference.ngram_draft import NgramDraft
from gpt_jax.inference.speculation import ROUNDS, SpeculativeState
from gpt_jax.model.gpt import GPT


@dataclasses.dataclass
class Speculation:
  """How drafts went, over all texts written so far."""

  drafted: int = 0
  accepted: int = 0
  tokens: int = 0
  rounds: int = 0
  """Passes of a text through the model."""

  @property
  def acceptance(self):
    """The share of checked drafts that stayed."""
    return self.accepted / max(self.drafted, 1)

  @property
  def tokens_per_pass(self):
    return self.tokens / max(self.rounds, 1)


class SpeculativeEngine(Engine):
  """Writes as Engine does, greedy text token for token; drawn text is other text of
  the same distribution."""

  # A draft that is rejected is overwritten by what comes after it, so rows go back by
  # their lengths alone; only caches need places for a round more.

  has_slots = False  # any number of requests is one batch: drawn text would differ

  def __init__(self, *args, num_drafts, draft_layers=None, draft=None, **settings):
    """Takes what Engine takes.

    Args:
      num_drafts: tokens that are drafted for each pass.
      draft_layers: draft by the model's first so many layers; or ...
      draft: ... by this Engine, of the same tokenizer; both None: by prompt look-up.
    """
    super().__init__(*args, **settings)
    self._spare, self._draft, self.speculation = num_drafts + 1, draft, Speculation()
    fields = dict(num_tokens=num_drafts, num_ids=self.text_limit)
    if draft is not None:
      draft._spare = self._spare + 1
      drafter = ModelDraft(draft.model, **fields)
    elif draft_layers is not None:
      cfg = dataclasses.replace(self.cfg, num_layers=draft_layers)
      model = GPT(cfg, self.model.attend, self.rules)
      drafter = ModelDraft(model, **fields, shares_cache=True)
    else:
      drafter = NgramDraft(num_drafts)
    replicated = placement.replicated(self.params)
    self._speculate = jax.jit(
      functools.partial(
        speculation.speculate,
        model=self.model,
        drafter=drafter,
        num_ids=self.text_limit,
      ),
      donate_argnums=2,
      out_shardings=(None, replicated, replicated),
      compiler_options=placement.loop_options(),
    )

  def passes(self):
    used = self.speculation
    return {
      'speculation': {
        'drafted': used.drafted,
        'accepted': used.accepted,
        'acceptance': used.acceptance,
        'tokens_per_pass': used.tokens_per_pass,
      }
    }

  def _chunks(self, writings, pace):
    requests = [writing.request for writing in writings]
    self.require_writable(requests)
    self._require_draftable(writings)
    missing = max((request.max_new_tokens for request in requests), default=0)
    if not missing:
      return
    prompts_ids = [request.prompt_ids for request in requests]
    with cache_memory.explained(self.cfg, prompts_ids, missing):
      state = self._begin(requests)
      while any(writing.finish is None for writing in writings):
        is_ended_B = np.array([writing.finish is not None for writing in writings])
        limit = min(pace.tokens(), ROUNDS)
        with pace.round(limit):
          state, drafted, is_over = self._speculate(
            self.params,
            None if self._draft is None else self._draft.params,
            state,
            limit,
            self.pad_rows(is_ended_B, True),
          )
          self._take(writings, drafted)
        yield
        if is_over:
          break
    self._count(state, len(requests))

  def _begin(self, requests):
    contexts = Contexts([request.prompt_ids for request in requests])
    writing = self._start(requests, contexts)
    cache = None
    if self._draft is not None:
      cache = self._draft._start(requests, contexts).cache
    tokens_BT, *_ = self._padded(*contexts.read())
    extra = max(request.max_new_tokens for request in requests) + self._spare
    return SpeculativeState.of(writing, tokens_BT, cache, extra)

  def _take(self, writings, drafted):
    ids_BC, count_B = np.asarray(drafted.ids_BC), np.asarray(drafted.count_B)
    has_log_probs = any(writing.request.log_probs is not None for writing in writings)
    log_probs = jax.device_get(drafted.log_probs) if has_log_probs else None
    for i, writing in enumerate(writings):
      before = len(writing.ids)
      # Of log-probabilities it takes as many as of ids.
      writing.take(ids_BC[i, : count_B[i]], log_probs and log_probs.row(i))
      self.speculation.tokens += len(writing.ids) - before

  def _count(self, state, rows):
    for name in ('drafted', 'accepted', 'rounds'):
      total = getattr(self.speculation, name)
      new = int(np.asarray(getattr(state, f'{name}_B'))[:rows].sum())
      setattr(self.speculation, name, total + new)

  def _require_draftable(self, writings):
    """Raises ConfigError for texts whose drafts could not be checked together."""
    if any(writing.masks for writing in writings):
      raise ConfigError(
        'inference.draft: drafts are checked several at a time, and a grammar or banned'
        ' strings allow each token after the one before; set inference.draft="".'
      )
    for writing in writings:
      request = writing.request
      length = len(request.prompt_ids) + request.max_new_tokens - 1
      for engine in (self, self._draft):
        if engine is not None:
          engine._check_length('inference.draft: prompt and new tokens', length)
