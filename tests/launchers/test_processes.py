"""Processes started and ended together; a run of two in `test_two_processes.py`."""

import signal
import subprocess
import sys
import time

import pytest

from gpt_jax.launchers import processes


def python(program):
  return [sys.executable, '-c', program]


def test_each_process_gets_its_number_and_its_virtual_devices(capfd):
  program = """if True:
    import os
    names = ('GPT_JAX_PROCESS_ID', 'GPT_JAX_NUM_PROCESSES', 'JAX_PLATFORMS')
    print(*map(os.environ.get, names), os.environ['XLA_FLAGS'].split('=')[-1])
  """
  ended = processes.run(python(program), processes=2, devices_per_process=3)
  assert ended == (0, False)
  shown = capfd.readouterr()
  assert shown.out == '0 2 cpu 3\n'
  assert '[1] 1 2 cpu 3\n' in shown.err


def test_the_end_of_a_failed_process_log_is_shown(tmp_path, capfd):
  program = """if True:
    import os, sys, time
    if os.environ['GPT_JAX_PROCESS_ID'] == '0':
      time.sleep(60)
    sys.exit('no such luck')
  """
  assert processes.run(python(program), processes=2, log_dir=tmp_path)[0] == 1
  shown = capfd.readouterr().err
  assert 'launch: process 1 ended first, exit code 1\nno such luck\n' in shown
  assert f'launch: its complete output is in {tmp_path}/process_1.log' in shown


def test_signals_reach_all_processes_once(tmp_path):
  program = """if True:
    import os, signal, sys, time
    me = os.environ['GPT_JAX_PROCESS_ID']
    def stop(*_):
      open(f'{sys.argv[1]}/signals_{me}', 'a').write('x')
      time.sleep(0.3)
      sys.exit(75)
    signal.signal(signal.SIGTERM, stop)
    open(f'{sys.argv[1]}/ready_{me}', 'w').close()
    time.sleep(60)
  """
  launch = """if True:
    import sys
    from gpt_jax.launchers import processes
    command = [sys.executable, '-c', *sys.argv[1:]]
    exit_code, was_stopped = processes.run(command, processes=2)
    sys.exit(exit_code if was_stopped else 'no signal seen')
  """
  launcher = subprocess.Popen([*python(launch), program, str(tmp_path)])
  while len(list(tmp_path.glob('ready_*'))) < 2:
    time.sleep(0.02)
  launcher.send_signal(signal.SIGTERM)
  assert launcher.wait() == 75
  assert [(tmp_path / f'signals_{i}').read_text() for i in range(2)] == ['x', 'x']


def test_a_stopped_process_is_killed_when_the_run_hangs():
  program = 'import os, signal; os.kill(os.getpid(), signal.SIGSTOP)'
  started = time.monotonic()
  ended = processes.run(
    python(program),
    processes=2,
    is_hung=lambda: time.monotonic() > started + 0.5,
  )
  assert ended == (processes.HUNG, False)


@pytest.mark.parametrize('code, shown', [(3, 3), (-9, 137), (-15, 143)])
def test_exit_codes_are_those_of_a_shell(code, shown):
  assert processes._exit_code(code) == shown
