"""The training step and its forward pass, exactly as `train` runs them."""

from gpt_jax.benchmarks import timing
from gpt_jax.model import flops


def step(subject):
  """Returns the step: forward, backward, update. It moves `subject.state`."""
  program, batch = subject.program, subject.batch
  lowered = program.step.lower(subject.state, batch)
  try:
    advance, seconds, gib = timing.compiled(lowered)
  except RuntimeError as error:
    return [timing.Skipped('step', timing.out_of_memory(error))]

  def once():
    subject.state, metrics = advance(subject.state, batch)
    if 'gpt_jax' not in subject.first_loss:
      subject.first_loss['gpt_jax'] = float(metrics['loss'])
    return metrics

  return [
    timing.Case(
      'step',
      lambda times: timing.repeat(once, times),
      compile_seconds=seconds,
      memory_gib=gib,
      tokens=subject.tokens,
      flops=step_flops(subject),
    )
  ]


def forward(subject):
  """Returns the loss without gradients or dropout, as evaluation computes it."""
  program, batch = subject.program, subject.batch
  lowered = program.evaluate.lower(subject.state.params, batch, 0)
  try:
    evaluate, seconds, gib = timing.compiled(lowered)
  except RuntimeError as error:
    return [timing.Skipped('forward', timing.out_of_memory(error))]
  return [
    timing.Case(
      'forward',
      lambda times: timing.repeat(
        lambda: evaluate(subject.state.params, batch, 0), times
      ),
      compile_seconds=seconds,
      memory_gib=gib,
      tokens=subject.tokens,
      flops=step_flops(subject) / 3,
    )
  ]


def step_flops(subject):
  """Returns the FLOPs of a step as MFU counts them: 6 N + 12 L H Q T a token."""
  config = subject.config
  per_token = flops.palm_flops_per_token(config.model, config.data.seq_len)
  return per_token * subject.tokens
