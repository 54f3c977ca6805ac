"""The same metrics reach a terminal as a live line and a log as plain lines."""

import io
import os
import sys

import pytest
import rich.console

from gpt_jax.core import pipes
from gpt_jax.tracking import console

NUMBERS = dict(loss=2.5, learning_rate=1e-3, tokens_per_second=12_345.0)


class Clock:
  """A clock that a test sets."""

  def __init__(self):
    self.now = 0.0

  def __call__(self):
    return self.now


@pytest.fixture
def clock():
  return Clock()


def screen(*, is_terminal):
  return rich.console.Console(file=io.StringIO(), width=100, force_terminal=is_terminal)


def run(display, clock, steps, seconds_per_step):
  """Shows `steps` at a constant speed."""
  with display:
    for step in steps:
      clock.now += seconds_per_step
      display.update(step, **NUMBERS)


def test_a_log_gets_first_and_last_step_and_one_every_10_seconds(clock):
  out = screen(is_terminal=False)
  display = console.TrainConsole(9, console=out, clock=clock)
  run(display, clock, range(1, 10), seconds_per_step=4.0)
  lines = out.file.getvalue().splitlines()
  assert [line.split()[1] for line in lines] == ['1/9', '4/9', '7/9', '9/9']


def test_line_names_loss_rate_speed_utilization_and_time_left(clock):
  out = screen(is_terminal=False)
  display = console.TrainConsole(100, console=out, clock=clock, plain_seconds=0.0)
  display.update(1, **NUMBERS)
  clock.now += 20.0
  display.update(11, mfu=0.312, **NUMBERS)
  first, second = out.file.getvalue().splitlines()
  assert first == 'step 1/100  loss 2.5000  lr 1.00e-03  12.3k tok/s'
  # 2 s a step, 89 steps to go.
  assert second.endswith('12.3k tok/s  MFU 31.2%  eta 2:58')


def test_time_left_of_a_resumed_run_uses_its_own_speed(clock):
  out = screen(is_terminal=False)
  display = console.TrainConsole(100, console=out, clock=clock, plain_seconds=0.0)
  run(display, clock, [91, 92], seconds_per_step=3.0)
  assert out.file.getvalue().rstrip().endswith('eta 0:24')


def test_terminal_gets_a_live_line_that_ends_complete(clock):
  out = screen(is_terminal=True)
  run(console.TrainConsole(5, console=out, clock=clock), clock, range(1, 6), 1.0)
  shown = out.file.getvalue()
  assert 'step 5/5' in shown and 'eta 0:00' in shown
  assert '\x1b[2K' in shown  # the line is drawn over itself


def test_evaluation_prints_one_line_per_set(clock):
  out = screen(is_terminal=False)
  display = console.TrainConsole(5, console=out, clock=clock)
  display.show_evaluation(3, 'validation', {'loss': 1.23456, 'tokens': 54_321})
  assert out.file.getvalue() == 'step 3  eval validation  loss 1.2346  tokens 54,321\n'


@pytest.mark.parametrize('is_terminal', [False, True])
def test_brackets_in_a_note_are_text(clock, is_terminal):
  out = screen(is_terminal=is_terminal)
  with console.TrainConsole(5, console=out, clock=clock) as display:
    display.note('x[bold]y[/bold]')
  assert 'x[bold]y[/bold]' in out.file.getvalue()


def test_a_process_that_is_not_enabled_prints_nothing(clock, capsys):
  display = console.TrainConsole(5, enabled=False, clock=clock)
  run(display, clock, range(1, 6), seconds_per_step=60.0)
  display.note('text')
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize('is_terminal', [False, True])
def test_progress_yields_every_item_with_and_without_a_terminal(clock, is_terminal):
  out = screen(is_terminal=is_terminal)
  items = console.progress(range(4), 'reading', console=out, clock=clock)
  assert list(items) == [0, 1, 2, 3]
  with console.TrainConsole(5, console=out, clock=clock) as display:
    assert list(display.progress(iter('abc'), 'evaluating', total=3)) == list('abc')


def test_slow_progress_prints_lines_in_a_log(clock):
  out = screen(is_terminal=False)
  for _ in console.progress(range(5), 'reading', console=out, clock=clock):
    clock.now += 6.0
  assert out.file.getvalue() == 'reading: 2/5\nreading: 4/5\n'


def test_a_slow_evaluation_of_a_run_prints_lines_in_a_log(clock, capsys):
  out = screen(is_terminal=False)
  for display in (
    console.TrainConsole(5, console=out, clock=clock),
    console.TrainConsole(5, enabled=False, clock=clock),
  ):
    for _ in display.progress(range(5), 'eval validation', total=5):
      clock.now += 6.0
  expected = 'eval validation: 2/5\neval validation: 4/5\n'
  assert out.file.getvalue() == expected and capsys.readouterr().out == ''


def test_table_aligns_numbers_and_keeps_brackets():
  out = screen(is_terminal=False)
  rows = [('[best]', 1.23456, 12), ('bz2', 10.0, 3_456)]
  console.table('Held-out', ['name', 'nats', 'tokens'], rows, console=out)
  lines = [line.split() for line in out.file.getvalue().splitlines()]
  assert ['[best]', '1.2346', '12'] in lines
  assert ['bz2', '10.0000', '3,456'] in lines


@pytest.mark.parametrize(
  'value, shown',
  [(0, '0'), (999.4, '999'), (999.6, '1k'), (12_345, '12.3k'), (2.5e6, '2.5M')],
)
def test_large_numbers_are_shown_in_three_digits(value, shown):
  assert console.si(value) == shown


@pytest.mark.parametrize(
  'seconds, shown', [(0, '0:00'), (59.6, '1:00'), (3_661, '1:01:01'), (3e7, '347 days')]
)
def test_durations_read_as_clock_time(seconds, shown):
  assert console.duration(seconds) == shown


def test_a_run_goes_on_when_nobody_reads_its_lines(clock, monkeypatch):
  reader, writer = os.pipe()
  os.close(reader)
  with os.fdopen(writer, 'w') as stdout:
    monkeypatch.setattr(sys, 'stdout', stdout)
    display = console.TrainConsole(3, clock=clock)
    run(display, clock, [1, 2, 3], seconds_per_step=20.0)
    print('done', flush=True)


def test_a_table_that_nobody_reads_says_so_to_the_command():
  reader, writer = os.pipe()
  os.close(reader)
  with os.fdopen(writer, 'w') as file:
    with pytest.raises(BrokenPipeError):
      console.table('t', ('a',), [('b',)], console=console.make_console(file=file))
    pipes.send_nowhere(file)
