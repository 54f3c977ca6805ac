"""Our models for lm-evaluation-harness, under the name gpt-jax; no torch is needed.

import gpt_jax.harness.lm_eval_model   # registers it
lm_eval.simple_evaluate('gpt-jax', {'workdir': 'runs/tiny'}, tasks=['piqa'])
"""

import sys
from typing import Any

from gpt_jax import api
from gpt_jax.core.errors import ConfigError, require_extra

try:
  from lm_eval import simple_evaluate
  from lm_eval.api.model import LM
  from lm_eval.api.registry import register_model
  from lm_eval.tasks import TaskManager
except ImportError as error:
  needs = require_extra('lm-eval', 'lm-eval')
  raise ConfigError(f'tasks of lm-evaluation-harness: {needs}.') from error

__all__ = ['GptJaxLM', 'TaskManager', 'simple_evaluate']

NEW_TOKENS = 256
"""What a task writes at most, unless it says how much."""
PROMPTS = 32
"""Prompts that are continued together, of about one length."""
_LIMITS = ('max_gen_toks', 'max_new_tokens', 'max_tokens', 'max_completion_tokens')


@register_model('gpt-jax')
class GptJaxLM(LM):
  """A Run as the harness's `LM`."""

  def __init__(
    self, workdir=None, *, run: Any = None, step=None, advance=None, **settings
  ):
    """Takes a Run, or the workdir of one. Batch sizes are chosen here, not given.

    `advance(count)` is told of answers that are done.
    """
    super().__init__()
    if run is None:
      if workdir is None:
        raise ConfigError('gpt-jax: expected workdir=DIR among the model arguments.')
      run = api.load(workdir, step=step)
    ignored = ('batch_size', 'max_batch_size', 'device', 'pretrained')
    if unknown := [name for name in settings if name not in ignored]:
      raise ConfigError(f'gpt-jax: {", ".join(unknown)}: expected workdir or step.')
    self.run = run
    self._advance = advance or (lambda count: None)

  @property
  def tokenizer_name(self):
    return f'{self.run.tokenizer.name}-{self.run.tokenizer.fingerprint[:12]}'

  def loglikelihood(self, requests):
    items = [(context, [text]) for context, text in (r.args for r in requests)]
    scores = self.run.score_many(items, self._advance, truncate=True)
    found = [(score.log_prob, score.is_greedy) for (score,) in scores]
    for request, result in zip(requests, found, strict=True):
      self.cache_hook.add_partial('loglikelihood', request.args, result)
    return found

  def loglikelihood_rolling(self, requests):
    texts = [request.args[0] for request in requests]
    found = [score.log_prob for score in self.run.score_texts(texts, self._advance)]
    for request, result in zip(requests, found, strict=True):
      self.cache_hook.add_partial('loglikelihood_rolling', request.args, result)
    return found

  def generate_until(self, requests):
    found: list[Any] = [None] * len(requests)
    groups = {}
    for i, request in enumerate(requests):
      prompt, settings = request.args
      groups.setdefault(repr(sorted(settings.items())), []).append(i)
    for indices in groups.values():
      options = _options(requests[indices[0]].args[1])
      # Of about one length; the longest first, so that a lack of memory shows at once.
      indices.sort(key=lambda i: -len(requests[i].args[0]))
      for start in range(0, len(indices), PROMPTS):
        part = indices[start : start + PROMPTS]
        prompts = [requests[i].args[0] for i in part]
        for i, text in zip(part, self.run.generate(prompts, **options), strict=True):
          found[i] = text
          self.cache_hook.add_partial('generate_until', requests[i].args, text)
        self._advance(len(part))
    return found


def _options(settings):
  """Returns the options of `Run.generate` for a task's generation_kwargs."""
  settings = dict(settings)
  until = settings.pop('until', None) or ()
  until = [until] if isinstance(until, str) else list(until)
  limits = [settings.pop(name) for name in _LIMITS if name in settings]
  temperature = float(settings.pop('temperature', 0.0) or 0.0)
  if not settings.pop('do_sample', temperature > 0):
    temperature = 0.0
  options: dict[str, Any] = dict(
    stop=[text for text in until if text],
    max_new_tokens=int(limits[0]) if limits else NEW_TOKENS,
    temperature=temperature,
    beyond_positions='slide',
  )
  if temperature > 0:
    for name in ('top_k', 'top_p', 'min_p'):
      if name in settings:
        options[name] = settings.pop(name)
  left = [name for name in settings if name not in ('top_k', 'top_p', 'min_p')]
  if left:
    print(f'gpt-jax: generation_kwargs {", ".join(left)}: not used', file=sys.stderr)
  return options
