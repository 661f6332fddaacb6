"""Runs processes pinned to a core, and reads their CPU time and memory from the kernel."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import tempfile
import termios
import threading
import time
from pathlib import Path

from .errors import BenchError

# How often to read the peak memory of a running generator. The peak in wait4's rusage is useless here: it is at least the
# peak of the process that forked, a Python interpreter.
SAMPLE_SECONDS = 0.1
STOP_SECONDS = 10
# Of the terminal that a live view is drawn in.
TERMINAL_COLUMNS, TERMINAL_ROWS = 100, 30
LISTEN_SECONDS = 10
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Finished:
    """What a generator printed and used during a complete run."""

    def __init__(self, stdout, usage, rss_peak_bytes, rss_bytes, run_queue_seconds, seconds):
        self.stdout = stdout
        self.user_seconds = usage.ru_utime
        self.system_seconds = usage.ru_stime
        self.rss_peak_bytes = rss_peak_bytes
        self.rss_bytes = rss_bytes
        # What all its threads waited for a core together, as far as samples show.
        self.run_queue_seconds = run_queue_seconds
        self.seconds = seconds


def run(command, core, timeout, rss_after_seconds=None, sample_seconds=SAMPLE_SECONDS, on_sample=None,
        terminal=False):
    """Runs a generator on one core until it ends. With `rss_after_seconds`, reads its resident memory that long after its
    start. `on_sample(pid, seconds)` is called with each sample. With `terminal` it has one, and what it prints on both
    streams comes together."""
    pinned = ["taskset", "-c", str(core), *command]
    with contextlib.ExitStack() as stack:
        stdout, stderr = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
        streams = dict(stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        if terminal:
            end = stack.enter_context(Terminal(stdout))
            streams = dict(stdin=end, stdout=end, stderr=end, start_new_session=True)
        started = time.monotonic()
        process = subprocess.Popen(pinned, **streams)
        rss_peak_bytes, rss_bytes, run_queue_seconds = 0, None, 0.0
        ended = select.poll()
        descriptor = os.pidfd_open(process.pid)
        ended.register(descriptor, select.POLLIN)
        while not ended.poll(sample_seconds * 1000):
            seconds = time.monotonic() - started
            run_queue_seconds = max(run_queue_seconds, run_queue_seconds_of(process.pid))
            rss_peak_bytes = max(rss_peak_bytes, memory_of(process.pid, "VmHWM"))
            if on_sample:
                on_sample(process.pid, seconds)
            if rss_after_seconds is not None and rss_bytes is None and seconds >= rss_after_seconds:
                rss_bytes = memory_of(process.pid, "VmRSS")
            if seconds > timeout:
                os.kill(process.pid, signal.SIGKILL)
        seconds = time.monotonic() - started
        os.close(descriptor)
        _, status, usage = os.wait4(process.pid, 0)
        if seconds > timeout:
            raise BenchError(f"`{' '.join(command)}` did not end within {timeout:.0f} s")
        process.returncode = os.waitstatus_to_exitcode(status)
        if terminal:
            # Now everything that it printed is there.
            end.close()
        for stream in (stdout, stderr):
            stream.seek(0)
        text, errors = stdout.read().decode(errors="replace"), stderr.read().decode(errors="replace")
    if process.returncode != 0:
        raise BenchError(f"`{' '.join(command)}` exited with {process.returncode}:\n{errors or text}")
    if rss_after_seconds is not None and not rss_bytes:
        raise BenchError(f"`{' '.join(command)}` ended within {rss_after_seconds:g} s, before its memory was read")
    return Finished(text, usage, rss_peak_bytes, rss_bytes, run_queue_seconds, seconds)


class Terminal:
    """A terminal for the length of a `with` block, which gives a process's end of it. What the process prints goes to `file`."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        self.master, slave = pty.openpty()
        self.end = os.fdopen(slave, "r+b", buffering=0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", TERMINAL_ROWS, TERMINAL_COLUMNS, 0, 0))
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        return self

    def fileno(self):
        return self.end.fileno()

    def close(self):
        self.end.close()
        self.reader.join()

    def __exit__(self, *_):
        self.close()
        os.close(self.master)

    def _read(self):
        while True:
            try:
                self.file.write(os.read(self.master, 64 * 1024))
            except OSError:
                # EIO: nobody has the other end open any more (pty(7)).
                self.file.flush()
                return


def memory_of(pid, field):
    """Returns the resident memory of a process (VmRSS) or its peak (VmHWM), or 0 if the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def run_queue_seconds_of(pid):
    """Returns how long the threads of a process have been ready to run without a core, or 0 if the process has ended."""
    waited_ns = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            # The second number (Documentation/scheduler/sched-stats.rst).
            waited_ns += int(file.read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return waited_ns / 1e9


class Server:
    """A server pinned to one core. It runs inside its `with` block and listens at `port`."""

    def __init__(self, name, command, core, port=None, scheme="http"):
        self.name = name
        self.command = command
        self.core = core
        self.port = port
        self.scheme = scheme

    def __enter__(self):
        pinned = ["taskset", "-c", str(self.core), *self.command]
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            pinned,
            stdin=subprocess.DEVNULL,
            # A server that chooses its own port prints its address.
            stdout=subprocess.PIPE if self.port is None else subprocess.DEVNULL,
            stderr=self.errors,
        )
        try:
            if self.port is None:
                line = self.process.stdout.readline().decode().strip()
                if not re.fullmatch(r"127\.0\.0\.1:\d+", line):
                    self._ended(f"printed {line!r} instead of its address")
                self.port = int(line.rpartition(":")[2])
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            # A paused process takes the signal only when it continues.
            self.process.send_signal(signal.SIGCONT)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()

    def pause(self):
        """Pauses the process, because a spinning process would take half of the core from another."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def url(self, path="/"):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def cpu_seconds(self):
        """Returns the user and system time so far, of the process and its children (such as the worker of nginx)."""
        user = system = 0
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *children]:
            # proc_pid_stat(5): the second field is a name in parentheses and may contain spaces.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user += int(fields[11])
            system += int(fields[12])
        return user / TICKS_PER_SECOND, system / TICKS_PER_SECOND

    def errors_so_far(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()

    def _wait_until_it_listens(self):
        # Reads the kernel's table instead of connecting, because the server would count that connection.
        listening = f"0100007F:{self.port:04X} 00000000:0000 0A"
        give_up = time.monotonic() + LISTEN_SECONDS
        while listening not in Path("/proc/net/tcp").read_text():
            if self.process.poll() is not None:
                self._ended(f"exited with {self.process.returncode} before it listened")
            if time.monotonic() > give_up:
                self._ended(f"did not listen at port {self.port} within {LISTEN_SECONDS} s")
            time.sleep(0.01)

    def _ended(self, how):
        raise BenchError(f"the server {self.name} (`{' '.join(self.command)}`) {how}. {self.errors_so_far()}")


def machine_times():
    """Returns seconds since boot, summed over all cores: (all, given to other guests by the hypervisor)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) / TICKS_PER_SECOND, fields[7] / TICKS_PER_SECOND
