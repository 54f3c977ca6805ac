"""`gpt-jax serve` says at once what cannot be, with its exit code."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from gpt_jax import cli
from gpt_jax.serving import server as server_of


@pytest.mark.parametrize(
  'flags, said',
  [
    (['--host=0.0.0.0'], 'there are no keys'),
    (['--drain_seconds=0'], '--drain_seconds=0'),
    (['--adapter=x'], 'expected NAME=DIR'),
    (['--workdir=other/run'], "two models are named 'run'"),
    (['--measure=0'], '--measure=0'),
    ([], 'no such folder'),
  ],
)
def test_what_cannot_be_served_is_told(flags, said, tmp_path, monkeypatch, capsys):
  monkeypatch.setenv('GPT_JAX_KEYS', '')
  monkeypatch.setenv('HOME', str(tmp_path))
  code = cli.main(['serve', f'--workdir={tmp_path}/run', '--port=0', *flags])
  assert code in (2, 4) and said in capsys.readouterr().err


def test_a_port_in_use_is_one_message(tmp_path, capsys):
  with server_of.bind('127.0.0.1', 0) as sock:
    sock.listen()
    port = sock.getsockname()[1]
    assert cli.main(['serve', f'--workdir={tmp_path}/run', f'--port={port}']) == 2
  assert f'--port={port}: in use' in capsys.readouterr().err


@pytest.mark.slow
def test_a_served_run_ends_in_order_when_told(finished_run):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  command = [sys.executable, '-m', 'gpt_jax', 'serve', f'--workdir=run={finished_run}']
  process = subprocess.Popen(
    [*command, f'--port={port}'], stderr=subprocess.PIPE, text=True, env={**os.environ}
  )
  assert process.stderr is not None
  for line in process.stderr:
    if 'serving run at' in line:
      break
  with urllib.request.urlopen(f'http://127.0.0.1:{port}/readyz') as response:
    assert response.status == 200
  process.send_signal(signal.SIGTERM)
  assert process.wait(30) == 0
