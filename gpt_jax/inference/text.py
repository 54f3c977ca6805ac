"""Text in, text out: an engine behind a tokenizer, as a run's config wants them."""

import dataclasses
import functools
from typing import Any

import numpy as np

from gpt_jax import attention, objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.data.stream_decoder import StreamDecoder
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.sampling import GREEDY
from gpt_jax.model import positions


def make_engine(config, params, vocab_size):
  """Returns the Engine of a resolved Config; `vocab_size` is the tokenizer's."""
  objective = objectives.make_objective(
    config.objective, vocab=objectives.Vocab(vocab_size), seq_len=config.data.seq_len
  )
  if objective.num_outputs:
    raise ConfigError(
      f'objective.name={config.objective.name!r}: a model with a task head'
      f' ({objective.num_outputs} outputs) writes and scores no text; `gpt-jax eval`'
      ' gives its metrics.'
    )
  _, attend = attention.choose_kernel(
    config, has_slopes=positions.has_slopes(config.model)
  )
  return Engine(
    config.model,
    params,
    attend=attend,
    vocab_limit=vocab_size + objective.extra_tokens,
    visibility=objective.visibility,
  )


class TextGenerator:
  """Writes and scores text: for `api.Run`, and for the samples of a training."""

  def __init__(self, config, params, tokenizer):
    """Takes a Config with its `model.vocab_size`, parameters stacked or unrolled."""
    self.engine = make_engine(config, params, tokenizer.vocab_size)
    self._max_new_tokens = config.inference.max_new_tokens
    self._tokenizer = tokenizer

  def generate(self, prompts, max_new_tokens=None, sampling=GREEDY, seed=0):
    """Returns what follows each prompt, up to the end token: str for str, else a list.

    `max_new_tokens` None is inference.max_new_tokens, or less where learned positions
    end before. A prompt that stands in the list twice gets two samples.
    """
    if isinstance(prompts, str):
      return self.generate([prompts], max_new_tokens, sampling, seed)[0]
    prompts = list(prompts)  # read more than once
    settings = self._settings(prompts, max_new_tokens, sampling, seed)
    texts_ids = self.engine.generate([*map(self._encode, prompts)], **settings)
    return [''.join(self._pieces(ids)) for ids in texts_ids]

  def stream(self, prompt, max_new_tokens=None, sampling=GREEDY, seed=0):
    """Yields the text of `generate` while it is written, in complete characters."""
    settings = self._settings([prompt], max_new_tokens, sampling, seed)
    yield from self._pieces(self.engine.stream(self._encode(prompt), **settings))

  def max_new_tokens_for(self, prompts, wanted):
    """Returns `wanted`, or as many tokens as may follow the longest of `prompts`."""
    longest = max((len(self._encode(prompt)) for prompt in prompts), default=0)
    return min(wanted, self.engine.max_new_tokens_for(longest))

  def score(self, context, continuation):
    """Returns the log-likelihood of `continuation` after `context`, in nats."""
    # Tokenized as one text if a token ends at the boundary between them.
    context_ids = self._tokenizer.encode(context)
    text_ids = self._tokenizer.encode(context + continuation)
    if np.array_equal(text_ids[: len(context_ids)], context_ids):
      continuation_ids = text_ids[len(context_ids) :]
    else:
      continuation_ids = self._tokenizer.encode(continuation)
    return self.engine.score(self._encode(context), continuation_ids)

  def _encode(self, prompt):
    # An empty prompt begins after an end token, as documents do; where the vocabulary
    # has none, after a newline, else after id 0.
    ids = self._tokenizer.encode(prompt)
    return ids if len(ids) else np.array([self._first_id], np.int32)

  @functools.cached_property
  def _first_id(self):
    if self._tokenizer.eos_id is not None:
      return self._tokenizer.eos_id
    pieces = self._tokenizer.token_bytes
    return pieces.index(b'\n') if b'\n' in pieces else 0

  def _settings(self, prompts, max_new_tokens, sampling, seed) -> dict[str, Any]:
    if max_new_tokens is None:
      # At least 1: the engine explains a prompt that leaves no position free.
      max_new_tokens = max(1, self.max_new_tokens_for(prompts, self._max_new_tokens))
    eos_id = self._tokenizer.eos_id
    return dict(
      max_new_tokens=max_new_tokens,
      # The objective's own tokens stand for no text.
      sampling=dataclasses.replace(sampling, vocab_limit=self._tokenizer.vocab_size),
      seed=seed,
      stop_ids=() if eos_id is None else (eos_id,),
    )

  def _pieces(self, ids):
    decoder = StreamDecoder(self._tokenizer)
    for token_id in ids:
      if piece := decoder.push(token_id):
        yield piece
    if piece := decoder.finish():
      yield piece
