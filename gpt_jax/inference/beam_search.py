"""Beam search: the likeliest texts as a whole, of those that a few beams find."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax.inference import guide, penalties, rows
from gpt_jax.inference.beams import Beams
from gpt_jax.inference.guide import Guides
from gpt_jax.inference.sampling import real_logits
from gpt_jax.parallel.sharding import constrain


def step(
  params, state, beam_B, token_B, is_new, score_B, allowed_BW, *,
  model, vocab_limit, width,
):  # fmt: skip
  """Returns (state, scores [W], beams [W], tokens [W]) of the best continuations.

  Bias and penalties change log-probabilities, as in transformers.

  Args:
    state: a DecodeState whose rows are the beams before.
    beam_B: which of them each beam goes on from, with `token_B`, which is read.
    is_new: whether the tokens are; those that a prompt ends with are not.
    score_B: log-probabilities of the beams, -inf of rows that are none.
  """
  read, history = rows.take((state.cache, state.history), beam_B)
  history = history.add(token_B, jnp.int32(is_new))
  logits_B1V, cache = model.apply({'params': params}, token_B[:, None], cache=read)
  cache |= {'length_B': read['length_B'] + 1}
  logits_BV = constrain(model.rules, logits_B1V[:, 0], 'batch', None)
  log_probs_BV = jax.nn.log_softmax(real_logits(logits_BV, vocab_limit), axis=-1)
  log_probs_BV = penalties.adjust(log_probs_BV, state.settings.sampling, history)
  scores_BV = guide.mask(log_probs_BV, allowed_BW) + score_B[:, None]
  score_W, index_W = jax.lax.top_k(scores_BV.reshape(-1), width)
  state = dataclasses.replace(state, cache=cache, history=history)
  return state, score_W, *jnp.divmod(index_W, scores_BV.shape[1])


class BeamSearch:
  """Searches with an Engine; compiles once for each number of beams."""

  def __init__(self, engine):
    self._engine = engine
    self._spread = jax.jit(rows.take)
    self._step = jax.jit(
      functools.partial(step, model=engine.model, vocab_limit=engine.text_limit),
      static_argnames='width',
      donate_argnames='state',
    )

  def search(self, request, settings, n=1):
    """Returns the best n (WrittenText, score) of a Request, one prompt at a time.

    `settings` are BeamSettings. What the request says of drawing has no effect.
    """
    engine, K = self._engine, settings.beams
    guides = bool(request.guides)
    beams = Beams(
      settings, request.max_new_tokens, request.stop_ids,
      lambda ids: guides and self._followed(request, ids)[1],
    )  # fmt: skip
    if request.max_new_tokens == 0:
      return beams.results(n)
    state = engine.read([request])
    # Rows up to what a mesh divides; those beyond the beams have no score.
    B = len(engine.pad_rows(np.zeros(K, np.int32)))
    beam_B, token_B = np.zeros(B, np.int32), np.full(B, request.prompt_ids[-1])
    state = self._spread(state, beam_B)
    params, is_new = engine.params_of([request.adapter] * B), False
    while not beams.is_over:
      score_B = np.full(B, -np.inf, np.float32)
      score_B[:K] = beams.scores
      width = min(beams.width, B * engine.cfg.vocab_size)
      state, *best = self._step(
        params, state, beam_B, token_B, is_new, score_B,
        self._allowed(request, beams, B), width=width,
      )  # fmt: skip
      beam_B[:K], token_B[:K] = beams.advance(*jax.device_get(best))
      is_new = True
    return beams.results(n)

  def _allowed(self, request, beams, num_rows):
    allowed_BW = np.full(
      (num_rows, guide.words(self._engine.cfg.vocab_size)), guide.ALL
    )
    for i, ids in enumerate(beams.ids if request.guides else ()):
      guides, _ = self._followed(request, ids)
      if guides.masks:
        allowed_W = guides.allowed()
        allowed_BW[i] = 0
        allowed_BW[i, : len(allowed_W)] = allowed_W
    return allowed_BW

  def _followed(self, request, ids):
    """Returns (the Guides of a beam, whether its text ends with the last of `ids`)."""
    # From the beginning: guides of all kinds can, while not all can be copied.
    guides, is_over = Guides(request.guides, request.prompt_ids), False
    for token_id in ids:
      is_over = guides.take(token_id)
    return guides, is_over
