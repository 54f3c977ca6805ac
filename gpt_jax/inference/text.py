"""Text in, text out: an engine behind a tokenizer, as a run's config wants them."""

import functools
import sys

import numpy as np

from gpt_jax import attention, objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.data.continuation import encode_pair
from gpt_jax.data.stream_decoder import StreamDecoder
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.request import each, make_requests
from gpt_jax.inference.settings import Sampling
from gpt_jax.model import exits, positions
from gpt_jax.parallel import multihost

_TAIL_CHARS = 256  # of a prompt, as context of its continuation


def make_engine(config, params, vocab_size, rules=None):
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
  if config.model.head == 'none':
    raise ConfigError(
      'model.head="none": an encoder without an output layer writes and scores no text;'
      ' `gpt-jax embed` gives the vectors of texts.'
    )
  _, attend = attention.choose_kernel(
    config, has_slopes=positions.has_slopes(config.model)
  )
  return Engine(
    exits.shallower(config).model,
    params,
    attend=attend,
    rules=rules,
    vocab_limit=vocab_size + objective.extra_tokens,
    text_limit=vocab_size,  # the objective's own tokens stand for no text
    visibility=objective.visibility,
  )


class TextGenerator:
  """Writes and scores text: for `api.Run`, and for the samples of a training."""

  def __init__(self, config, params, tokenizer, rules=None):
    """Takes a Config with its `model.vocab_size`, parameters stacked or unrolled.

    `rules` as `Engine` takes them.
    """
    self.engine = make_engine(config, params, tokenizer.vocab_size, rules)
    self._defaults = config.inference
    self._tokenizer = tokenizer
    begin = config.data.begin_token  # before a prompt as before documents
    self._begin_ids = [tokenizer.special_id(begin)] if begin else []
    self._said_cropping = False

  def generate(self, prompts, **settings):
    """Returns what follows each prompt, up to the end token: str for str, else a list.

    Settings are those of `_requests`. A prompt that stands in the list twice gets two
    samples.
    """
    if isinstance(prompts, str):
      return self.generate([prompts], **settings)[0]
    prompts = texts_of(prompts)
    texts_ids = self.engine.generate(self._requests(prompts, **settings))
    pairs = zip(prompts, texts_ids, strict=True)
    return [''.join(self._pieces(prompt, ids)) for prompt, ids in pairs]

  def stream(self, prompt, **settings):
    """Returns an iterator over the text of `generate`, in complete characters."""
    prompts = texts_of([prompt])
    (request,) = self._requests(prompts, **settings)
    return self._pieces(prompt, self.engine.stream(request))

  def score(self, context, continuation):
    """Returns the log-likelihood of `continuation` after `context`, in nats.

    `data/continuation.py` says which ids that is where they meet within a word.
    """
    texts_of([context, continuation])
    context_ids, ids = encode_pair(self._tokenizer, context, continuation)
    return self.engine.score(self._begun(context_ids), ids)

  def score_many(self, items, advance=lambda count: None):
    """Returns the Scores of `[(context, [continuation, ...]), ...]`, lists as given.

    Ids are those of `score`; `advance` as `Engine.score_many` takes it.
    """
    groups, places = [], []  # of an engine's items, and the groups of each of ours
    for context, continuations in items:
      texts_of([context, *continuations])
      places.append(len(groups))
      for continuation in continuations:
        context_ids, ids = encode_pair(self._tokenizer, context, continuation)
        groups.append((self._begun(context_ids), [ids]))
    scores = [score for (score,) in self.engine.score_many(groups, advance)]
    ends = [*places[1:], len(scores)]
    return [scores[start:end] for start, end in zip(places, ends, strict=True)]

  def _encode(self, prompt):
    return self._begun(self._tokenizer.encode(prompt))

  def _begun(self, ids):
    """Returns ids as documents of the training begin, at least one."""
    # Without data.begin_token an empty prompt begins after an end token, as documents
    # do; where the vocabulary has none, after a newline, else after id 0.
    if self._begin_ids:
      return np.concatenate([self._begin_ids, ids]).astype(np.int32)
    return ids if len(ids) else np.array([self._first_id], np.int32)

  @functools.cached_property
  def _first_id(self):
    if self._tokenizer.eos_id is not None:
      return self._tokenizer.eos_id
    pieces = self._tokenizer.token_bytes
    return pieces.index(b'\n') if b'\n' in pieces else 0

  def _requests(
    self, prompts, *, max_new_tokens=None, temperature=None, top_k=None, top_p=None,
    seed=0,
  ):  # fmt: skip
    """Returns a Request for each prompt; None is the value of config.inference.

    A setting is one value for all prompts, or a list of one for each.
    """
    defaults, count = self._defaults, len(prompts)

    def column(name, value):
      values = each(name, value, count)
      return [getattr(defaults, name) if v is None else v for v in values]

    temperatures = column('temperature', temperature)
    triples = zip(
      temperatures, column('top_k', top_k), column('top_p', top_p), strict=True
    )
    eos_id = self._tokenizer.eos_id
    requests = make_requests(
      [self._encode(prompt) for prompt in prompts],
      max_new_tokens=column('max_new_tokens', max_new_tokens),
      sampling=[Sampling(temperature=t, top_k=k, top_p=p) for t, k, p in triples],
      seed=seed,
      stop_ids=() if eos_id is None else (eos_id,),
    )
    self._say_cropping(requests)
    return requests

  def _say_cropping(self, requests):
    """Says, once, that texts outgrow what the model reads at a time."""
    table_len = self.engine.table_len
    longest = max((len(r.prompt_ids) + r.max_new_tokens for r in requests), default=0)
    if longest - 1 <= table_len or self._said_cropping or not multihost.is_primary():
      return
    self._said_cropping = True
    print(
      f'generate: up to {longest} tokens, but {self.engine.cfg.position} positions end'
      f' at model.max_seq_len={table_len}: beyond, the text goes on from its last'
      f' {max(1, table_len // 2)} to {table_len} tokens.',
      file=sys.stderr,
    )

  def _pieces(self, prompt, ids):
    # Ids shown as numbers would run into the last one of the prompt.
    is_text = self._tokenizer.byte_lengths.any()
    separator = '' if is_text or prompt[-1:].isspace() or not prompt else ' '
    # The space before the first token depends on what is before it.
    tail = '' if self._tokenizer.joins_bytes else prompt[-_TAIL_CHARS:]
    decoder = StreamDecoder(self._tokenizer, self._tokenizer.encode(tail))
    for token_id in ids:
      if piece := decoder.push(token_id):
        yield separator + piece
        separator = ''
    if piece := decoder.finish():
      yield separator + piece


def texts_of(prompts):
  """Returns prompts as a list of texts; raises ConfigError for anything else."""
  texts, wrong = prompts, [prompts]
  if not isinstance(prompts, bytes) and hasattr(prompts, '__iter__'):
    texts = list(prompts)  # read more than once
    wrong = [text for text in texts if not isinstance(text, str)]
  if wrong:
    raise ConfigError(
      f'prompts: expected a text (str) or a list of texts, not {str(wrong[0])[:40]}'
      f' ({type(wrong[0]).__name__}).'
    )
  return texts
