"""Why a step stays."""

from gpt_jax.checkpoints import retention


def scores(count, **losses):
  best = retention.BestSteps('loss', count)
  for step, loss in losses.items():
    best.record(int(step[1:]), {'loss': loss})
  return best


def test_each_kept_step_has_its_reason():
  best = scores(2, s1=4.0, s2=3.0, s3=5.0, s4=3.0)
  assert retention.why_kept([1, 2, 3, 4, 5], best) == {
    1: 'one of the last',
    2: 'best 2',
    3: 'one of the last',
    4: 'best loss',  # of equals the later one
    5: 'newest',
  }
  assert retention.why_kept([4], best) == {4: 'newest, best loss'}
  assert retention.why_kept([], best) == {}
