"""A real SLURM on this machine: munge, a controller, two nodes of two cores each."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess

from tests.cluster import servers

PACKAGES = 'slurm-wlm', 'munge'
DAEMONS = 'munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'scontrol', 'sinfo'
NODES = 'n1', 'n2'
PORT = 17000
HOSTS = pathlib.Path('/etc/hosts')
HOSTS_LINE = '127.0.0.1 n1 n2  # gpt_jax tests/cluster\n'

CONF = """
ClusterName=gpt_jax
SlurmctldHost={host}
SlurmctldPort={port}
AuthType=auth/munge
# A requeued job waits until its credential has expired: two minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=20
SlurmdTimeout=15
MaxArraySize=4
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 \\
  Port=[{port1}-{port2}] CPUs=2 RealMemory=2000
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def install():
  """Installs the packages that are missing; returns why that failed, or ''."""
  if all(map(shutil.which, DAEMONS)):
    return ''
  if os.geteuid() or not shutil.which('apt-get'):
    names = ' '.join(PACKAGES)
    return f'SLURM is not installed; as root on Debian: apt-get install {names}'
  environment = os.environ | {'DEBIAN_FRONTEND': 'noninteractive'}
  words = ['apt-get', 'install', '--yes', '--no-install-recommends', *PACKAGES]
  for attempt in ([], ['apt-get', 'update']):
    if attempt:
      subprocess.run(attempt, capture_output=True, env=environment)
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if not done.returncode:
      return ''
  return f'{" ".join(words)}: {done.stderr.strip()[-400:]}'


class Cluster:
  """The daemons, in a folder of their own; clients find them by SLURM_CONF."""

  def __init__(self, folder):
    self.folder = pathlib.Path(folder)
    self.conf = self.folder / 'slurm.conf'
    self._munged = None

  def start(self):
    """Returns once both nodes are idle."""
    (self.folder / 'state').mkdir(parents=True)
    host = socket.gethostname().partition('.')[0]
    text = CONF.format(
      host=host, folder=self.folder, port=PORT, port1=PORT + 1, port2=PORT + 2
    )
    self.conf.write_text(text)
    os.environ['SLURM_CONF'] = str(self.conf)
    if HOSTS_LINE not in HOSTS.read_text():
      HOSTS.write_text(HOSTS.read_text() + HOSTS_LINE)
    self._start_munge()
    self._daemon('slurmctld', '-f', self.conf)
    for node in NODES:
      self.start_node(node)
    servers.until(are_idle, 60, f'two idle nodes (logs in {self.folder})')

  def start_node(self, node):
    """Starts the daemon of a node, unless it runs."""
    pid = _text(self.folder / f'{node}.pid').strip()
    if not pid or 'slurmd' not in _text(pathlib.Path(f'/proc/{pid}/comm')):
      self._daemon('slurmd', '-f', self.conf, '-N', node)

  def cut_node_off(self, node):
    """Kills a node's daemon: SLURM loses the node, where all processes live on."""
    os.kill(int((self.folder / f'{node}.pid').read_text()), signal.SIGKILL)

  def kill_node(self, node):
    """Kills all that a node runs, as a power cut does: nothing is told to end."""
    self.cut_node_off(node)
    tasks = self.tasks_on(node)
    steps = {_parent(pid) for pid in tasks}  # first those who would report it
    for pid in (*(steps - {1, os.getpid()}), *tasks):
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

  def tasks_on(self, node):
    """Returns the ids of the processes that this cluster runs on a node."""
    marks = {f'SLURMD_NODENAME={node}', f'SLURM_CONF={self.conf}'}
    return [
      int(path.parent.name)
      for path in pathlib.Path('/proc').glob('[0-9]*/environ')
      if marks <= set(_text(path).split('\0'))
    ]

  def end(self):
    """Ends all daemons by their process ids; /etc/hosts is as before."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
      call('scancel', '--partition=debug')
      servers.until(are_idle, 30, 'the end of all jobs')
    for name in (*NODES, 'slurmctld'):
      servers.end_by_file(self.folder / f'{name}.pid')
    if self._munged:
      servers.end(self._munged)
    HOSTS.write_text(HOSTS.read_text().replace(HOSTS_LINE, ''))

  def _start_munge(self):
    key = self.folder / 'munge.key'
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    own = {'key-file': key, 'pid-file': self.folder / 'munge.pid'}
    own |= {
      'seed-file': self.folder / 'munge.seed',
      'socket': self.folder / 'munge.socket',
    }
    own |= {'log-file': self.folder / 'munge.log'}
    words = [
      'munged',
      '--foreground',
      '--force',
      *(f'--{k}={v}' for k, v in own.items()),
    ]
    self._munged = servers.start(words, self.folder / 'munged.out')
    servers.until((self.folder / 'munge.socket').exists, 20, 'the socket of munged')

  def _daemon(self, *words):
    """Starts a daemon that goes to the background by itself."""
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if done.returncode:
      raise RuntimeError(f'{words}: {done.stdout}{done.stderr}')


def _parent(pid):
  """Returns the id of the parent, 1 for a process that is gone."""
  fields = _text(pathlib.Path(f'/proc/{pid}/stat')).rpartition(')')[2].split()
  return int(fields[1]) if fields else 1


def _text(path):
  try:
    return path.read_text(errors='replace')
  except OSError:  # it has ended meanwhile
    return ''


def are_idle():
  """Returns whether both nodes are idle."""
  states = call('sinfo', '--noheader', '--Node', '--format=%T')
  return states.split() == ['idle'] * len(NODES)


def call(*words):
  """Returns what a client program prints, or '' where it fails."""
  done = subprocess.run(words, capture_output=True, text=True, timeout=60)
  return done.stdout.strip() if not done.returncode else ''
