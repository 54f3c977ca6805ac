"""Two engines are timed in turns, new tokens alone."""

from gpt_jax.benchmarks import compressed


class Timer:
  """An Engine that takes so many seconds a token, by a clock of its own."""

  table_len, vocab_limit = 64, 10

  def __init__(self, clock, seconds):
    self.clock, self.seconds, self.calls = clock, seconds, []

  def generate(self, requests):
    (request,) = requests
    self.calls.append(request.max_new_tokens)
    self.clock[0] += 1.0 + self.seconds * request.max_new_tokens


def test_the_ratio_is_of_new_tokens_in_alternating_rounds(monkeypatch):
  clock = [0.0]
  monkeypatch.setattr(compressed.time, 'perf_counter', lambda: clock[0])
  before, after = Timer(clock, 0.3), Timer(clock, 0.1)
  found = compressed.decode_ratio(before, after, rounds=3)
  assert abs(found.median - 3) < 1e-9
  assert before.calls == after.calls == [1, 32] * 5


def test_what_is_fast_is_timed_many_times_over(monkeypatch):
  clock = [0.0]
  monkeypatch.setattr(compressed.time, 'perf_counter', lambda: clock[0])
  before, after = Timer(clock, 0.001), Timer(clock, 0.002)
  compressed.decode_ratio(before, after, rounds=1)
  # 31 tokens of `before` take 0.031 s, a tenth of what is wanted.
  assert before.calls == [1, 32] * 2 + [1] * 10 + [32] * 10
