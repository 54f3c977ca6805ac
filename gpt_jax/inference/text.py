"""Text in, text out: an engine behind a tokenizer, as a run's config wants them."""

import dataclasses
import functools
import itertools
import math
import sys
from typing import Any

import numpy as np

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.inference import adapted, grammar, many
from gpt_jax.inference.banned_strings import BannedStrings
from gpt_jax.inference.beam_search import BeamSearch
from gpt_jax.inference.beams import BeamSettings
from gpt_jax.inference.capacity import Wishes
from gpt_jax.inference.completion import Completion, token_log_probs
from gpt_jax.inference.early_exit import ExitRule
from gpt_jax.inference.engine import Engine
from gpt_jax.inference.pieces import Pieces
from gpt_jax.inference.request import Request, as_ids, each, whole_number
from gpt_jax.inference.speculative_engine import SpeculativeEngine
from gpt_jax.inference.stop_strings import StopStrings
from gpt_jax.inference.text_options import TextOptions, texts_of
from gpt_jax.inference.text_scheduler import TextScheduler
from gpt_jax.inference.text_scores import TextScores
from gpt_jax.model import exits, positions
from gpt_jax.parallel import multihost


def make_engine(config, params, vocab_size, rules=None, drafting=None, adapter=None):
  """Returns the Engine of a resolved Config; `vocab_size` is the tokenizer's.

  `drafting`: what SpeculativeEngine takes besides; None: a plain Engine. `adapter` as
  Engine takes it.
  """
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
  attend, adapter = adapted.make_model_parts(config, adapter)
  make, cache_dtype = Engine, config.inference.cache_dtype
  if drafting is not None:
    make = functools.partial(SpeculativeEngine, **drafting)
  return make(
    exits.shallower(config).model,
    params,
    attend=attend,
    rules=rules,
    vocab_limit=vocab_size + objective.extra_tokens,
    text_limit=vocab_size,  # the objective's own tokens stand for no text
    visibility=objective.visibility,
    exit_rule=ExitRule.of(config.inference),
    wishes=Wishes.of(config.inference),
    cache_dtype=None if cache_dtype == 'auto' else cache_dtype,
    adapter=adapter,
  )


class TextGenerator(TextScores):
  """Writes and scores text: for `api.Run`, and for the samples of a training."""

  def __init__(
    self, config, params, tokenizer, rules=None, drafting=None, adapter=None
  ):
    """Takes a Config with its `model.vocab_size`, parameters stacked or unrolled.

    `rules` as `Engine` takes them, `drafting` and `adapter` as `make_engine`.
    """
    self.engine = make_engine(
      config, params, tokenizer.vocab_size, rules, drafting, adapter
    )
    self._defaults = config.inference
    self._tokenizer = tokenizer
    begin = config.data.begin_token  # before a prompt as before documents
    self._begin_ids = [tokenizer.special_id(begin)] if begin else []
    self._said_length = False

  @property
  def tokenizer(self):
    """The Tokenizer of prompts and texts."""
    return self._tokenizer

  def generate(self, prompts, **options):
    """Returns what follows each prompt, up to the end token: str for str, else a list.

    `options` are those of TextOptions. A prompt that stands in the list twice gets two
    samples.
    """
    if options.get('n', 1) != 1 or options.get('logprobs') is not None:
      raise ConfigError(
        'n, logprobs: `generate` returns one text for each prompt; `complete` returns'
        ' n, with their log-probabilities.'
      )
    found: Any = self.complete(prompts, **options)
    if isinstance(prompts, str):
      return found[0].text
    return [completions[0].text for completions in found]

  def continue_ids(self, prompts_ids, **options):
    """Returns the text that follows each prompt, ids that may be special tokens.

    The ids are read as they are, without a begin token before them; `options` are those
    of `generate`.
    """
    asked = TextOptions.of(options)
    if asked.num_written > 1 or asked.echo or asked.logprobs is not None:
      raise ConfigError(
        'n, best_of, echo, logprobs: ids are followed by one text each.'
      )
    ids = [np.asarray(prompt_ids, np.int32) for prompt_ids in prompts_ids]
    requests = self._requests(ids, asked)
    if asked.beams > 1:
      return [self._search('', asked, request)[0].text for request in requests]
    written = self.engine.write(requests)
    return [''.join(self._pieces('', text.ids, asked.stop)) for text in written]

  def complete(
    self, prompts, advance=lambda count: None, on_prompt=lambda i, found: None,
    **options,
  ):  # fmt: skip
    """Returns [Completion, ...] of a prompt, or a list of those for a list.

    The best comes first where they have scores, else the lowest seed. `advance(count)`
    is told of texts that are written, `on_prompt(i, [Completion, ...])` of prompts all
    of whose texts are, in any order.
    """
    if isinstance(prompts, str):
      return self.complete([prompts], advance, on_prompt, **options)[0]
    prompts, asked, requests = self._read(prompts, options)
    width = 1 if asked.beams > 1 else asked.num_written
    found: list[Any] = [None] * len(prompts)
    pairs: list[dict[int, Any]] = [{} for _ in prompts]

    def keep(i, completions):
      found[i] = completions
      on_prompt(i, completions)

    def end(i, text):
      advance(1)
      ended = pairs[i // width]
      ended[i] = requests[i], text
      if len(ended) == width:
        best = [ended[j] for j in sorted(ended)]
        if width > asked.n:  # sorting is stable: of equal ones the lowest seed
          best = sorted(best, key=lambda pair: -pair[1].mean_log_prob)[: asked.n]
        prompt = prompts[i // width]
        keep(i // width, [self._completion(prompt, asked, *pair) for pair in best])

    if asked.beams > 1:
      for i, request in enumerate(requests):
        completions = self._search(prompts[i], asked, request)
        advance(1)
        keep(i, completions)
    else:
      self.engine.write(requests, on_end=end)
    return found

  def stream(self, prompt, **options):
    """Returns an iterator over the text of `generate`, in complete characters."""
    _, asked, requests = self._read([prompt], options)
    if asked.num_written > 1 or asked.beams > 1 or asked.logprobs is not None:
      raise ConfigError(
        'n, best_of, beams, logprobs: a stream is one text, shown as it is written; use'
        ' `complete`.'
      )
    self.engine.require_writable(requests)  # here, not at the first piece
    pieces = self._pieces(prompt, self.engine.stream(requests[0]), asked.stop)
    return itertools.chain([prompt] if asked.echo and prompt else [], pieces)

  def scheduler(self):
    """Returns the TextScheduler of a server, as the config's `inference` says."""
    parts = self._read_one, self._completion
    return TextScheduler(many.open_scheduler(self.engine), self._tokenizer, *parts)

  def _read(self, prompts, options):
    """Returns (prompts as a list, TextOptions, the Requests of each prompt in turn)."""
    prompts, asked = texts_of(prompts), TextOptions.of(options)
    ids = [self._encode(prompt) for prompt in prompts]
    return prompts, asked, self._requests(ids, asked)

  def _read_one(self, prompt, options):
    """Returns (TextOptions, Requests) of a prompt: a text, or ids to read as is."""
    if isinstance(prompt, str):
      _, asked, requests = self._read([prompt], options)
      return asked, requests
    asked = TextOptions.of(options)
    return asked, self._requests([as_ids('prompt', prompt)], asked)

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

  def _requests(self, prompts_ids, asked):
    """Returns the Requests of each prompt, those of the same one beside each other."""
    columns = asked.columns(len(prompts_ids), self._defaults)
    samplings = asked.samplings(columns)
    lengths = self._lengths(prompts_ids, asked, columns['max_new_tokens'])
    eos_id, guides = self._tokenizer.eos_id, []
    stop_ids = [self._tokenizer.special_id(name) for name in asked.stop_tokens]
    stop_ids += [eos_id] if eos_id not in (None, *stop_ids) else []
    if asked.stop:
      guides.append(StopStrings(asked.stop, self._tokenizer))
    if asked.banned:
      guides.append(BannedStrings(asked.banned, self._tokenizer))
    grammars = {
      n: grammar.make(asked.grammar, n, self._tokenizer) for n in set(lengths)
    }
    return [
      Request(
        prompt_ids=prompt_ids,
        max_new_tokens=length,
        sampling=sampling,
        seed=whole_number('seed', seed) + sample,
        stop_ids=tuple(stop_ids),
        guides=(*guides, *grammars[length]),
        adapter=adapter,
        log_probs=asked.num_log_probs,
      )
      for prompt_ids, length, sampling, seed, adapter in zip(
        prompts_ids,
        lengths,
        samplings,
        columns['seed'],
        columns['adapter'],
        strict=True,
      )
      for sample in range(asked.num_written)
    ]

  def _lengths(self, prompts_ids, asked, lengths):
    """Returns max_new_tokens of each prompt; ConfigError beyond the positions."""
    given = each('max_new_tokens', asked.max_new_tokens, len(prompts_ids))
    found = [whole_number('max_new_tokens', length) for length in lengths]
    how = asked.beyond_positions or self._defaults.beyond_positions
    how = 'error' if asked.beams > 1 else how
    table_len = self.engine.table_len
    if how == 'error' and table_len < math.inf:
      for i, ids in enumerate(prompts_ids):
        left = int(table_len) + 1 - len(ids)  # the last token is written, never read
        if left < 1 or (given[i] is not None and found[i] > left):
          raise self._beyond(len(ids), found[i], left)
        found[i] = min(found[i], left)
    pairs = zip(prompts_ids, found, strict=True)
    self._say_longest(max((len(ids) + new for ids, new in pairs), default=0) - 1)
    return found

  def _beyond(self, prompt_len, new, left):
    fits = f'at most {left} new tokens fit' if left > 0 else 'shorten the prompt'
    return ConfigError(
      f'max_new_tokens={new} after a prompt of {prompt_len} tokens:'
      f' {self._end_of_positions()}; {fits}, or set beyond_positions="slide": a'
      ' text that outgrows them goes on from its last part.'
    )

  def _say_longest(self, length):
    """Says, once, that `length` tokens are more than the model reads, or was taught."""
    cfg, table_len = self.engine.cfg, self.engine.table_len
    limit = cfg.max_seq_len - self.engine.num_virtual
    if length <= limit or self._said_length or not multihost.is_primary():
      return
    self._said_length = True
    print(
      f'generate: up to {length + 1} tokens, but '
      + (
        f'the model was made for texts of {self._longest_text()}: beyond,'
        f' model.position={cfg.position!r} goes on as the config says, untrained.'
        if table_len == math.inf
        else f'{self._end_of_positions()}: beyond, the text goes on'
        f' from its last {max(1, limit // 2)} to {limit} tokens.'
      ),
      file=sys.stderr,
    )

  def _end_of_positions(self):
    return positions.describe_end(self.engine.cfg, self.engine.num_virtual)

  def _longest_text(self):
    limit, taken = self.engine.cfg.max_seq_len, self.engine.num_virtual
    less = f' less {taken} virtual tokens' if taken else ''
    return f'model.max_seq_len={limit}{less}'

  def _search(self, prompt, asked, request):
    """Returns the Completions of beam search."""
    settings = BeamSettings(
      beams=asked.beams,
      length_penalty=1.0 if asked.length_penalty is None else asked.length_penalty,
      early_stopping=asked.early_stopping or False,
    )
    found = []
    for text, score in self._beam_search.search(request, settings, asked.n):
      if asked.logprobs is not None:
        ids_N = np.concatenate([request.prompt_ids, text.ids])
        log_probs = self.engine.text_log_probs(ids_N, request.adapter)
        start = len(request.prompt_ids) - 1
        text = dataclasses.replace(text, log_probs=log_probs.cut(asked.logprobs, start))
      found.append(self._completion(prompt, asked, request, text, score))
    return found

  @functools.cached_property
  def _beam_search(self):
    return BeamSearch(self.engine)

  def _completion(self, prompt, asked, request, text, score=None):
    shown = prompt if isinstance(prompt, str) else self._tokenizer.decode(prompt)
    pieces = self._pieces(shown, text.ids, asked.stop)
    if asked.num_written > asked.n:
      score = text.mean_log_prob
    found = Completion(
      text=(shown if asked.echo else '') + ''.join(pieces),
      ids=text.ids,
      finish_reason=text.finish,
      seed=request.seed,
      score=score,
    )
    if asked.logprobs is None:
      return found
    log_probs = token_log_probs(self._tokenizer, text.ids, text.log_probs)
    if asked.echo:
      of_prompt = self._prompt_log_probs(prompt, asked.logprobs, request.adapter)
      log_probs = of_prompt + log_probs
    return dataclasses.replace(found, log_probs=log_probs)

  def _prompt_log_probs(self, prompt, k, adapter):
    is_text = isinstance(prompt, str)
    ids = self._tokenizer.encode(prompt) if is_text else as_ids('prompt', prompt)
    if not len(ids):
      return ()
    begun = self._encode(prompt) if is_text else ids
    before = len(begun) - len(ids)
    found = self.engine.text_log_probs(begun, adapter).cut(k, max(0, before - 1))
    return token_log_probs(self._tokenizer, ids, found, start=0 if before else 1)

  def _pieces(self, prompt, ids, stop=()):
    pieces = Pieces(self._tokenizer, prompt, stop)
    for token_id in ids:
      if piece := pieces.push(token_id):
        yield piece
    if piece := pieces.finish():
      yield piece
