"""What each worker of a TPU slice is told to do, as one script for bash.

It is copied there beside the code. Its first argument is one of ACTIONS; each says how
it went in a line that begins with MARK, because gcloud ends with 0 also where it has
reached no worker at all. A run goes on when the connection is cut: another `follow`
shows what comes next.
"""

import shlex

MARK = 'gpt-jax-worker'
ACTIONS = ('install', 'start', 'follow', 'status', 'stop')
PYTHON = '>=3.11,<3.14'  # the images of TPU VMs may have an older one alone
KILL_SECONDS = 300

_SCRIPT = """\
#!/bin/bash
# What each worker of {name} does: {actions}.
set -u
cd || exit 5
code=$HOME/gpt_jax/{commit}
run=$HOME/gpt_jax/runs/{name}
say() {{ echo "{mark} $(hostname) $*"; }}

status() {{
  if [ -e "$run/exit_code" ]; then say exited "$(cat "$run/exit_code")"
  elif [ ! -e "$run/pid" ]; then say absent
  elif kill -0 "$(cat "$run/pid")" 2>/dev/null; then
    say running "$(cat "$run/commit")"
  else
    sleep 1  # the code is written after the process has ended
    say exited "$(cat "$run/exit_code" 2>/dev/null || echo 137)"
  fi
}}

case $1 in
install)
  if [ ! -e "$code/.installed" ]; then
    echo "{digest}  {archive}" | sha256sum --check --quiet || exit 5
    rm -rf "$code"
    mkdir -p "$code" && tar -xzf {archive} -C "$code" || exit 5
    cd "$code" || exit 5
{install}
    touch "$code/.installed"
  fi
  say installed ;;
start)  # $2 is another one for each start: gcloud repeats a command that was cut
  mkdir -p "$run"
  if [ "$(cat "$run/start" 2>/dev/null)" != "$2" ]; then
    rm -f "$run/exit_code" "$run/pid"
    touch "$run/log"
    stat --format=%s "$run/log" > "$run/log_start"
    echo "$2" > "$run/start"
    echo {commit} > "$run/commit"
    nohup setsid bash "$0" run < /dev/null > /dev/null 2>&1 &
  fi
  until [ -e "$run/pid" ]; do sleep 0.1; done
  say started ;;
run)
  cd "$code/{folder}" || exit 5
{exports}
  {command} >> "$run/log" 2>&1 &
  echo $! > "$run/pid.new" && mv "$run/pid.new" "$run/pid"
  wait $!
  echo $? > "$run/exit_code.new"
  mv "$run/exit_code.new" "$run/exit_code"
  exit ;;  # before bash reads on: meanwhile another launch may have copied its script
follow)
  from="--bytes=+$(($(cat "$run/log_start") + 1))"
  if [ "${{2:-}}" = again ]; then from=--lines=10; fi
  tail "$from" --follow --pid="$(cat "$run/pid")" --sleep-interval=0.2 "$run/log" \\
    | sed --unbuffered "s/^/$(hostname): /"
  for _ in $(seq 100); do [ -e "$run/exit_code" ] && break; sleep 0.1; done
  status
  exit ;;
status)
  status ;;
stop)
  if [ -e "$run/pid" ]; then
    kill -TERM "$(cat "$run/pid")" 2>/dev/null
    for _ in $(seq {kill_seconds}); do
      [ -e "$run/exit_code" ] && break
      kill -0 "$(cat "$run/pid")" 2>/dev/null || break
      sleep 1
    done
    kill -KILL "$(cat "$run/pid")" 2>/dev/null
  fi
  status
  exit ;;
esac
"""

INSTALL = """\
    python3 -m pip install --quiet --user --upgrade uv || exit 5
    "$HOME/.local/bin/uv" venv --quiet --python '{python}' .venv || exit 5
    "$HOME/.local/bin/uv" pip install --quiet --python .venv/bin/python \\
      --editable '.[tpu,gcs,s3]' || exit 5"""
"""The environment of a commit, in its folder; uv brings the interpreter."""


def script(description, archive, digest):
  """Returns the text of the script for a Description with its commit.

  Args:
    archive, digest: name of the packed code in the worker's home, and its SHA-256.
  """
  variables = dict(JAX_PLATFORMS='tpu,cpu', PYTHONUNBUFFERED='1')
  # No repository is there to say it: run.json has it from this (workdir/provenance.py).
  variables['GPT_JAX_COMMIT'] = description.commit
  variables |= description.environment
  exports = [
    f'  export {name}={shlex.quote(value)}' for name, value in variables.items()
  ]
  return _SCRIPT.format(
    name=description.name,
    actions=', '.join(ACTIONS),
    commit=description.commit,
    mark=MARK,
    digest=digest,
    archive=archive,
    install=INSTALL.format(python=PYTHON),
    folder=shlex.quote(description.folder),
    exports='\n'.join(exports),
    command=description.shell_command('"$code/.venv/bin/gpt-jax"'),
    kill_seconds=KILL_SECONDS,
  )


def report_of(line):
  """Returns (host, what it says) of a line that a script has printed, or None."""
  mark, _, rest = line.rstrip('\n').partition(' ')
  if mark != MARK:
    return None
  host, _, said = rest.partition(' ')
  return host, said
