"""Text in, text out: an engine behind a tokenizer, as a run's config wants them."""

import functools

import numpy as np

from gpt_jax import attention, objectives
from gpt_jax.data.tokenizer import StreamDecoder
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.sampling import Sampling


def make_engine(config, params, vocab_size):
  """Returns the Engine of a Config with its `model.vocab_size`, for decoding.

  `vocab_size` is the tokenizer's; the ids of the objective come on top.
  """
  objective = objectives.make(
    config.objective, vocab=objectives.Vocab(vocab_size), seq_len=config.data.seq_len
  )
  _, attend = attention.choose_kernel(config)
  return Engine(
    config.model,
    params,
    attend=attend,
    vocab_limit=vocab_size + objective.extra_tokens,
    visibility=objective.visibility,
  )


class TextGenerator:
  """Writes and scores text with the parameters of one run."""

  def __init__(self, config, params, tokenizer):
    """Takes a Config with its `model.vocab_size`, and parameters in either form."""
    self.engine = make_engine(config, params, tokenizer.vocab_size)
    self._max_new_tokens = config.inference.max_new_tokens
    self._tokenizer = tokenizer

  def generate(
    self, prompts, max_new_tokens=None, temperature=0.0, top_k=0, top_p=1.0, seed=0
  ):
    """Returns what follows the prompt, up to the end token: str for str, else a list.

    `max_new_tokens` None is inference.max_new_tokens, or less where the learned table
    of positions ends before. The rest: `sampling.Sampling`; a prompt that stands in the
    list twice gets two samples.
    """
    if isinstance(prompts, str):
      return self.generate([prompts], max_new_tokens, temperature, top_k, top_p, seed)[
        0
      ]
    prompts_ids = [self._start_from(prompt) for prompt in prompts]
    settings = self._settings(prompts_ids, max_new_tokens, temperature, top_k, top_p)
    texts_ids = self.engine.generate(prompts_ids, seed=seed, **settings)
    return [''.join(self._pieces(ids)) for ids in texts_ids]

  def stream(
    self, prompt, max_new_tokens=None, temperature=0.0, top_k=0, top_p=1.0, seed=0
  ):
    """Yields the text of `generate` as it is written, in whole characters."""
    prompt_ids = self._start_from(prompt)
    settings = self._settings([prompt_ids], max_new_tokens, temperature, top_k, top_p)
    yield from self._pieces(self.engine.stream(prompt_ids, seed=seed, **settings))

  def room(self, prompts):
    """Returns how many tokens may follow the longest of `prompts`; None: any number."""
    return self.engine.room(max(len(self._start_from(prompt)) for prompt in prompts))

  def score(self, context, continuation):
    """Returns the log-likelihood of `continuation` after `context`, in nats.

    Both are read as one text where a token ends at the border between them.
    """
    context_ids = self._tokenizer.encode(context)
    whole_ids = self._tokenizer.encode(context + continuation)
    if np.array_equal(whole_ids[: len(context_ids)], context_ids):
      continuation_ids = whole_ids[len(context_ids) :]
    else:
      continuation_ids = self._tokenizer.encode(continuation)
    return self.engine.score(self._start_from(context), continuation_ids)

  def _start_from(self, prompt):
    """Returns the ids of `prompt`; an empty one begins after an end token, as documents
    do, or without one in the vocabulary after a newline, or after id 0."""
    ids = self._tokenizer.encode(prompt)
    return ids if len(ids) else np.array([self._first_id], np.int32)

  @functools.cached_property
  def _first_id(self):
    if self._tokenizer.eos_id is not None:
      return self._tokenizer.eos_id
    pieces = self._tokenizer.token_bytes
    return pieces.index(b'\n') if b'\n' in pieces else 0

  def _settings(self, prompts_ids, max_new_tokens, temperature, top_k, top_p):
    if max_new_tokens is None:
      longest = max(map(len, prompts_ids), default=0)
      room = self.engine.room(longest)
      # At least 1: a prompt that fills the table is the engine's error to explain.
      max_new_tokens = self._max_new_tokens
      max_new_tokens = (
        max_new_tokens if room is None else max(1, min(max_new_tokens, room))
      )
    eos_id = self._tokenizer.eos_id
    return dict(
      max_new_tokens=max_new_tokens,
      stop_ids=() if eos_id is None else (eos_id,),
      sampling=Sampling(
        temperature=temperature, top_k=top_k, top_p=top_p,
        # The objective's own tokens stand for no text.
        vocab_limit=self._tokenizer.vocab_size,
      ),
    )  # fmt: skip

  def _pieces(self, ids):
    decoder = StreamDecoder(self._tokenizer)
    for token_id in ids:
      if piece := decoder.push(token_id):
        yield piece
    if piece := decoder.finish():
      yield piece
