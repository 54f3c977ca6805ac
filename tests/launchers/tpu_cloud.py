"""A cloud of TPU VMs for tests: `fake_gcloud.py` on the PATH, workers as folders."""

import json
import os
import pathlib
import shlex
import sys

ROOT = pathlib.Path(__file__).parents[2]
PYTHON = """\
#!/bin/sh
# The worker's python3: it is asked for uv alone, which then makes the environment.
mkdir -p "$HOME/.local/bin"
cp "$(dirname "$0")/uv" "$HOME/.local/bin/uv"
"""
UV = """\
#!/bin/sh
# Makes an environment whose gpt-jax is {program}.
echo "$@" >> "$HOME/uv_calls"
case $1 in
venv) mkdir -p .venv/bin ;;
pip) printf '%s\\n' '#!/bin/sh' {program} > .venv/bin/gpt-jax
  chmod +x .venv/bin/gpt-jax ;;
esac
"""
STAND_IN = 'exec sh "$FAKE_GCLOUD/program" "$@"'
REAL = f'PYTHONPATH=$code exec {shlex.quote(sys.executable)} -m gpt_jax "$@"'


def install(folder, monkeypatch, program=STAND_IN):
  """Makes a cloud in `folder`, where somebody is logged in.

  Args:
    program: a line of sh that stands for gpt-jax on the workers.
  """
  tools, worker_tools = folder / 'bin', folder / 'worker_bin'
  gcloud = shlex.join(
    [sys.executable, '-S', str(ROOT / 'tests/launchers/fake_gcloud.py')]
  )
  _write(tools / 'gcloud', f'#!/bin/sh\nexec {gcloud} "$@"\n')
  _write(worker_tools / 'hostname', '#!/bin/sh\necho "$WORKER"\n')
  _write(worker_tools / 'python3', PYTHON)
  _write(worker_tools / 'uv', UV.format(program=shlex.quote(program)))
  (folder / 'login').touch()
  (folder / 'agent').touch()
  monkeypatch.setenv('PATH', f'{tools}{os.pathsep}{os.environ["PATH"]}')
  monkeypatch.setenv('FAKE_GCLOUD', str(folder))
  monkeypatch.setenv('CLOUDSDK_COMPUTE_ZONE', 'us-west4-a')
  monkeypatch.setenv('CLOUDSDK_CORE_PROJECT', 'my-project')


def calls(folder):
  """Returns the command lines of gcloud so far, without its group of commands."""
  path = folder / 'calls'
  lines = path.read_text().splitlines() if path.exists() else []
  return [json.loads(line)[3:] for line in lines]


def verbs(folder):
  """Returns what each call did: its verb, of ssh the action of the script."""
  found = []
  for call in calls(folder):
    command = next((word for word in call if word.startswith('--command=')), '')
    found.append(f'ssh {command.split()[2]}' if command else call[0])
  return found


def resources(folder):
  path = folder / 'resources.json'
  return json.loads(path.read_text()) if path.exists() else {}


def _write(path, text):
  path.parent.mkdir(exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)
