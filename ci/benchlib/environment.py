"""The environment of a campaign: its tools, its cores, and the facts to record with its results."""

import os
import platform
import re
import resource
import shutil
import subprocess
from pathlib import Path

from .errors import BenchError

ROOT = Path(__file__).resolve().parents[2]

# The profile that the programs of ours are built with. A smoke run judges no figure, so it saves the time of optimising
# and takes what the tests have built already.
profile = "release"

# Those of the crate `ringtide` that are measured.
ENGINE_EXAMPLES = ["client_cost", "echo", "hyper_server"]

HOW_TO_GET = {
    "wrk": "the Debian package wrk",
    "h2load": "the Debian package nghttp2-client",
    "nghttpd": "the Debian package nghttp2-server",
    "nginx": "the Debian package nginx",
    "oha": "cargo install oha --locked",
    "openssl": "the Debian package openssl",
    "taskset": "the Debian package util-linux",
}


def find_tool(name):
    """Returns the path of a tool. Also searches sbin and cargo's folder, which are not in every PATH."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", str(Path.home() / ".cargo" / "bin")]
    return shutil.which(name, path=os.pathsep.join(places))


def require_tools():
    """Returns the paths of all tools by name. The error lists all missing tools and how to install them."""
    tools = {name: find_tool(name) for name in HOW_TO_GET}
    missing = [f"  {name}: {HOW_TO_GET[name]}" for name, path in tools.items() if path is None]
    if missing:
        raise BenchError("these tools are missing:\n" + "\n".join(missing))
    return tools


def require_tool(name):
    if find_tool(name) is None:
        raise BenchError(f"{name} is missing: {HOW_TO_GET[name]}")


def require_open_files(needed):
    """Raises the soft limit of open files to what the subjects need, a count by name. Processes started later inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and (short := {name: count for name, count in needed.items() if count > hard}):
        wants = " and ".join(f"`{name}` needs {count}" for name, count in short.items())
        raise BenchError(
            f"the limit of open files is {hard}, but {wants}: raise the limit (ulimit -Hn), or leave the subject out (--only)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, *needed.values()), hard))


def two_cores():
    """Returns the core of the generator and the core of the server."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed, one for the generator and one for the server")
    return cores[0], cores[1]


def build(smoke):
    """Builds all programs of ours that are measured: as a user would, or for a smoke run."""
    global profile
    if smoke:
        profile = "dev"
        # What `cargo test --workspace` builds, with the same features of dependencies.
        builds = [["--workspace", "--bins", "--examples"]]
    else:
        builds = [["-p", "ringtide-loadgen"], ["-p", "ringtide-driver", "--examples"],
                  ["-p", "ringtide", *(f"--example={name}" for name in ENGINE_EXAMPLES)]]
    for arguments in builds:
        command = ["cargo", "build", "--profile", profile, "--quiet", *arguments]
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            raise BenchError(f"`{' '.join(command)}` failed")


def program(name):
    """Returns the path of a program that `build` has built."""
    return str(ROOT / "target" / ("debug" if profile == "dev" else profile) / name)


def example(name):
    return program(f"examples/{name}")


def machine():
    """Returns a neutral name for the machine: the number and model of its cores."""
    model = re.sub(r"\([^)]*\)|@.*|\b(cpu|processor|with)\b", " ", cpu_model().lower())
    slug = re.sub(r"[^a-z0-9]+", "-", model).strip("-")
    return f"{os.cpu_count()}core-{slug or platform.machine()}"


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def describe(tools, cores):
    """Returns the contents of environment.json."""
    governor = Path(f"/sys/devices/system/cpu/cpu{cores[0]}/cpufreq/scaling_governor")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "memory_kib": int(re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text()).group(1)),
        "generator_core": cores[0],
        "server_core": cores[1],
        "governor": governor.read_text().strip() if governor.exists() else "not shown by this machine",
        "open_files_limit": limit,
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "rustc": output(["rustc", "--version"]),
        "tools": {
            "wrk": output([tools["wrk"], "-v"]).splitlines()[0].split(" Copyright")[0],
            "h2load": output([tools["h2load"], "--version"]),
            "nghttpd": output([tools["nghttpd"], "--version"]),
            "nginx": output([tools["nginx"], "-v"]),
            "oha": output([tools["oha"], "--version"]),
            "openssl": output([tools["openssl"], "version"]),
        },
    }


def git(*arguments):
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise BenchError(f"results must name their commit, but git failed: {done.stderr.strip()}")
    return done.stdout.strip()


def output(command):
    """Returns what a command prints on either stream (nginx -v uses stderr; wrk -v exits with 1)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip()
