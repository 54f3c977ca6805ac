"""What happens beside the steps: evaluation, samples, a profile, the loss curve.

A hook is an `Every`: an action on the run after each so many steps, and at the end if
it says so. The loop calls them in order; add yours to the list in `loop.py`.
"""

import contextlib
import dataclasses
import datetime
import math
from collections.abc import Callable

import jax

from gpt_jax.core.errors import DataError, StorageError
from gpt_jax.evaluation import evaluate as evaluation
from gpt_jax.inference.sampling import Sampling
from gpt_jax.inference.text import TextGenerator
from gpt_jax.program.batches import evaluate_sets
from gpt_jax.tracking import loss_curve
from gpt_jax.workdir import files


@dataclasses.dataclass
class Every:
  """An `action(run)` for after every `steps` steps (0: never) and maybe at the end."""

  steps: int
  action: Callable
  at_end: bool = False

  def is_due(self, run):
    """Returns whether the action belongs after the step that was just made."""
    is_end = run.step == run.program.horizon.total_steps
    return bool(self.steps and run.step % self.steps == 0) or (self.at_end and is_end)


def evaluate(run):
  """Scores every set of eval.sets; keeps the figures in `run.scores` and eval.json."""
  scored = evaluate_sets(
    run.program, run.state.averaged, run.eval_sets, run.console.progress
  )
  for name, metrics in scored:
    run.console.show_evaluation(run.step, name, metrics)
    named = {f'{name}/{key}': value for key, value in metrics.items()}
    run.scores |= named
    run.track(named)
  run.scored_step = run.step
  if run.is_primary and run.scores:
    scores = {k: v if math.isfinite(v) else None for k, v in run.scores.items()}
    with warn_if_unwritable(run, run.workdir.eval):
      files.write_json(run.workdir.eval, evaluation.by_set(scores, run.step))


@contextlib.contextmanager
def warn_if_unwritable(run, path):
  """Says that `path` was not written, in place of ending the training for it."""
  try:
    yield
  except (OSError, StorageError) as error:
    run.console.note(f'step {run.step}: {path} was not written: {error}')


class Samples:
  """Appends what the model writes after each prompt to samples.md.

  Raises DataError at once, not after hours, for a prompt that cannot be read.
  """

  def __init__(self, run):
    self._generator = None  # made at the first use, then given newer parameters
    # Ids of a synthetic language are no text: let it begin by itself.
    is_text = bool(run.tokenizer.byte_lengths.any())
    self._prompts = run.config.logging.sample_prompts if is_text else ('',)
    for prompt in self._prompts:
      try:
        run.tokenizer.encode(prompt)
      except DataError as error:
        raise DataError(f'logging.sample_prompts: {error}') from error

  def __call__(self, run):
    params = run.state.averaged
    if self._generator is None:
      self._generator = TextGenerator(run.program.config, params, run.tokenizer)
    else:
      self._generator.engine.set_params(params)
    prompts = self._prompts
    wanted = run.config.logging.sample_tokens
    texts = self._generator.generate(
      list(prompts),
      self._generator.max_new_tokens_for(prompts, wanted),
      Sampling.of(run.config.inference),
      seed=run.config.seed,
    )
    self._generator.engine.release()  # its copy of the parameters must not stay
    if run.is_primary:
      parts = [f'```text\n{p}{t}\n```\n' for p, t in zip(prompts, texts, strict=True)]
      with (
        warn_if_unwritable(run, run.workdir.samples),
        open(run.workdir.samples, 'a', encoding='utf-8') as file,
      ):
        file.write(f'## Step {run.step}\n\n' + '\n'.join(parts) + '\n')


def draw_figures(run):
  """Draws figures/loss.png from metrics.jsonl, with the exact floor where known."""
  if not run.is_primary:
    return
  floors = {
    f'entropy ({name})': dataset.entropy
    for name, dataset in run.eval_sets.items()
    if dataset.entropy is not None and run.program.objective.predicts_text
  }
  loss_curve.save(
    run.workdir.metrics,
    run.workdir.figures / 'loss.png',
    reference_lines=sorted(floors.items()),
    title=run.workdir.path.name,
  )


class Profile:
  """A profiler trace of `steps` steps from `start` on, for TensorBoard or Perfetto.

  A context manager: leaving it ends a trace that is still on, whatever happened.
  """

  def __init__(self, folder, start, steps):
    self._folder, self._start, self._stop = str(folder), start, start + steps
    self._is_on = False

  def before(self, step):
    """Starts or ends the trace when `step` (the next one) says so."""
    is_inside = self._start <= step < self._stop
    if is_inside and not self._is_on:
      jax.profiler.start_trace(self._folder)
    elif self._is_on and not is_inside:
      jax.profiler.stop_trace()
    self._is_on = is_inside

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.before(math.inf)


def now():
  """Returns the present moment with its time zone, for run.json."""
  return datetime.datetime.now(datetime.UTC)
