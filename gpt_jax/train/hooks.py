"""What happens beside the steps: evaluation, samples, the loss curve, a profile.

A hook is an `Every`: an action on (session, progress) after each so many steps, and at
the end if it says so. The list of them is `default_hooks` in `loop.py`.
"""

import dataclasses
import math
import time
from collections.abc import Callable

import jax

from gpt_jax import peft
from gpt_jax.core import malloc, process_memory
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import evaluate as evaluation
from gpt_jax.inference.text import TextGenerator
from gpt_jax.parallel import free_memory, multihost
from gpt_jax.peft import rank_map
from gpt_jax.program.batches import put_batch
from gpt_jax.program.build import adapter_of
from gpt_jax.storage import objects, scratch
from gpt_jax.storage.urls import is_remote
from gpt_jax.tracking import loss_curve
from gpt_jax.train.task_scores import score_sets
from gpt_jax.workdir import files

KEPT_BYTES = 1 << 30
"""Freed memory that a process may keep in any case, for its next step."""
SECONDS_BETWEEN_LOOKS = 1.0


@dataclasses.dataclass
class Every:
  """An `action(session, progress)` after every `steps` steps; 0: never."""

  steps: int
  action: Callable
  at_end: bool = False

  def is_due(self, session, progress):
    """Returns whether the action belongs after the step that was just made."""
    is_end = progress.step == session.program.horizon.total_steps
    is_nth = self.steps and progress.step % self.steps == 0
    return bool(is_nth) or (self.at_end and is_end)


@dataclasses.dataclass
class At:
  """An `action(session, progress)` after each of the given `steps`."""

  steps: tuple[int, ...]
  action: Callable

  def is_due(self, session, progress):
    """Returns whether the action belongs after the step that was just made."""
    return progress.step in self.steps


def evaluate(session, progress):
  """Scores every set of eval.sets; keeps the metrics in `scores` and eval.json."""
  step = progress.step
  scored = score_sets(
    session.program,
    progress.state.averaged,
    session.eval_sets,
    tokenizer=session.tokenizer,
    progress=session.console.progress,
    references=progress.state.references,
    writes=False,
  )
  for name, result in scored:
    metrics = result.metrics
    session.console.show_evaluation(step, name, metrics)
    named = {f'{name}/{key}': value for key, value in metrics.items()}
    progress.scores |= named
    session.track(step, named)
  progress.scored_step = step
  if multihost.is_primary() and progress.scores:
    scores = {k: v if math.isfinite(v) else None for k, v in progress.scores.items()}
    path = session.workdir.eval
    with session.warn_if_unwritable(step, path):
      files.write_json(path, evaluation.by_set(scores, step))


class ReleaseMemory:
  """Gives freed memory back to the system where half as much is free there.

  The temporary memory of a step is one block. Where small ones come to lie in it once
  it is free, the next step takes another, and the process keeps both.
  """

  def __init__(self):
    self._looked = time.monotonic()

  def __call__(self, session, progress):
    del session, progress
    now = time.monotonic()
    if now - self._looked < SECONDS_BETWEEN_LOOKS:  # a look takes milliseconds
      return
    self._looked = now
    if (process_memory.resident_bytes() or 0) <= KEPT_BYTES:
      return
    held, free = malloc.held_bytes(), free_memory.host_bytes()
    if held > KEPT_BYTES and free is not None and held > free / 2:
      malloc.give_back()


def record_statistics(session, progress):
  """Records `logging.statistics` of the model on the batch that it has just read."""
  program = session.program
  batch = put_batch(program, progress.batch)
  sums = jax.device_get(program.measure(progress.state, batch))
  session.track(progress.step, program.measurement.finished(sums))


def record_ranks(session, progress):
  """Records ranks that an Adapter has chosen, if any, and draws figures/ranks.png."""
  adapter = adapter_of(session.program.model)
  if adapter is None or adapter.ranks is None:
    return
  table = rank_map.by_layer(adapter.ranks(progress.state.params))
  session.track(progress.step, rank_map.metrics(table))
  if session.config.logging.figures and multihost.is_primary():
    path = session.workdir.figures / 'ranks.png'
    with session.warn_if_unwritable(progress.step, path):
      rank_map.save(table, path, title=session.workdir.path.name)


class Samples:
  """Appends what the model writes after each prompt to samples.md."""

  def __init__(self, session):
    self._generator = None  # made at the first use, then given newer parameters
    # Ids of a synthetic language are no text: let it begin by itself.
    is_text = bool(session.tokenizer.byte_lengths.any())
    self._prompts = session.config.logging.sample_prompts if is_text else ('',)
    for prompt in self._prompts:  # a mistake has to show before training
      try:
        session.tokenizer.encode(prompt)
      except DataError as error:
        raise DataError(f'logging.sample_prompts: {error}') from error

  def __call__(self, session, progress):
    config, params = peft.plain_form(session.config, progress.state.averaged)
    if self._generator is None:
      self._generator = TextGenerator(
        config, params, session.tokenizer, session.program.rules
      )
    else:
      self._generator.engine.set_params(params)
    prompts = self._prompts
    texts = self._generator.generate(
      prompts,
      max_new_tokens=config.logging.sample_tokens,
      seed=config.seed,
      beyond_positions='slide',
    )
    self._generator.engine.release()  # its copy of the parameters must not stay
    if multihost.is_primary():
      parts = [f'```text\n{p}{t}\n```\n' for p, t in zip(prompts, texts, strict=True)]
      path = session.workdir.samples
      with session.warn_if_unwritable(progress.step, path):
        text = f'## Step {progress.step}\n\n' + '\n'.join(parts) + '\n'
        objects.append_text(path, text)


def draw_loss_curve(session, progress):
  """Draws figures/loss.png from metrics.jsonl, with the exact entropy where known."""
  if not multihost.is_primary():
    return
  entropies = {
    f'entropy ({name})': dataset.entropy
    for name, dataset in session.eval_sets.items()
    if dataset.entropy is not None and session.program.objective.predicts_text
  }
  workdir = session.workdir
  with session.warn_if_unwritable(progress.step, workdir.figures):
    loss_curve.save(
      workdir.metrics,
      workdir.figures / 'loss.png',
      reference_lines=sorted(entropies.items()),
      title=workdir.path.name,
    )


class Profile:
  """A context manager: a profiler trace, for TensorBoard or Perfetto, of some steps."""

  def __init__(self, folder, start, steps):
    self._folder, self._start, self._stop = folder, start, start + steps
    self._trace = str(scratch.folder('profile') if is_remote(folder) else folder)
    self._is_on = False

  def before(self, step):
    """Starts or ends the trace when `step` (the next one) says so."""
    is_inside = self._start <= step < self._stop
    if is_inside and not self._is_on:
      jax.profiler.start_trace(self._trace)
    elif self._is_on and not is_inside:
      jax.profiler.stop_trace()
      if is_remote(self._folder):
        objects.upload(self._trace, self._folder)
        objects.remove_tree(self._trace)
    self._is_on = is_inside

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.before(math.inf)
