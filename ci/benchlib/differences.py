"""Where the figures of generators differ, and why: the parts of ci/compare-tools.

Two yardsticks need no trust in any tool. Little's law: in a closed loop, the mean time from one request of a connection to its
next one is connections / rate. And a server that is stopped for a known time: at an even rate, that share of the requests must
have waited.
"""

import threading

from . import servers, tools
from .session import Case, measure_one

TOOLS = ("wrk", "oha", "h2load", "nginx")
CONNECTIONS = 64
# Of new connections: few, so that each is busy connecting.
RECONNECTING = 16
HTTP2_CONNECTIONS, HTTP2_STREAMS = 10, 100
# Far more requests are due during the stop than there are connections.
OPEN_RATE, STALL_RATE = 20_000, 2_000
# How long the server is stopped in a run, and when, as shares of the run.
STALL_SHARE, STALL_AT = 0.1, 0.4
# A side that uses so much of its core is the limit.
BUSY_SHARE = 0.95
# A printed mean further from Little's law than this has a reason.
MEAN_TOLERANCE = 0.05


def closed_loop(settings):
    """HTTP/1.1, 64 connections, each sends when it has its response."""
    for place in places(settings):
        with place as server:
            title(f"Closed loop, {CONNECTIONS} connections, HTTP/1.1, against {server.name}")
            duration = settings.duration
            runs = run_all(settings, server, [
                tools.ringtide(duration, CONNECTIONS),
                *there(settings, "wrk", lambda: tools.wrk(settings.tools, duration, CONNECTIONS, "--latency")),
                *there(settings, "oha", lambda: tools.oha(settings.tools, duration, CONNECTIONS)),
                *there(settings, "h2load", lambda: tools.h2load(settings.tools, duration, CONNECTIONS)),
            ])
            table(runs, CONNECTIONS)
            explain_rates(runs)
            for name, run in runs.items():
                explain_mean(name, run, CONNECTIONS)
            if "h2load" in runs:
                say("h2load prints no percentiles.")


def http2(settings):
    """HTTP/2, 10 connections with 100 streams."""
    with servers.floor_http2(settings.server_core) as server:
        in_flight = HTTP2_CONNECTIONS * HTTP2_STREAMS
        title(f"Closed loop, {HTTP2_CONNECTIONS} connections with {HTTP2_STREAMS} streams, HTTP/2, against {server.name}")
        shape = (settings.duration, HTTP2_CONNECTIONS, HTTP2_STREAMS)
        runs = run_all(settings, server, [
            tools.ringtide_http2(*shape),
            *there(settings, "oha", lambda: tools.oha_http2(settings.tools, *shape)),
            *there(settings, "h2load", lambda: tools.h2load(settings.tools, *shape)),
        ])
        table(runs, in_flight)
        explain_rates(runs)
        for name, run in runs.items():
            explain_mean(name, run, in_flight)


def open_loop(settings):
    """A rate that all can keep."""
    rate = STALL_RATE if settings.smoke else OPEN_RATE
    with servers.floor(settings.server_core) as server:
        title(f"Open loop, {rate:,}/s over {CONNECTIONS} connections, against {server.name}")
        runs = run_all(settings, server, open_tools(settings, rate))
        table(runs)
        say("wrk has no rate, and is left out.")
        explain_open(runs)


def stall(settings):
    """A server that stops for a known time."""
    stopped = settings.duration * STALL_SHARE
    with servers.floor(settings.server_core) as server:
        title(f"The server is stopped once for {stopped * 1000:.0f} ms, {STALL_SHARE:.0%} of a run; {STALL_RATE:,}/s, or closed")
        runs = run_all(settings, server, [
            *open_tools(settings, STALL_RATE),
            *there(settings, "wrk", lambda: tools.wrk(settings.tools, settings.duration, CONNECTIONS, "--latency")),
        ], during=lambda: stop_for(server, settings.duration * STALL_AT, stopped))
        table(runs)
        # The mean wait is half of the stop, for the share of the requests that were due in it.
        honest_us = stopped * 1e6 / 2 * STALL_SHARE
        say(f"At an even rate {STALL_SHARE:.0%} of the requests are due while the server stands still, and wait for "
            f"{time(stopped * 1e6 / 2)} on average. So an honest mean is at least {time(honest_us)}.")
        for name, run in runs.items():
            explain_stall(name, run, honest_us)
        if "ringtide" in runs:
            say(f"ringtide's service counts from the send, too: its mean is {time(runs['ringtide']['service_mean_us'])}.")


def connects(settings):
    """A connection for each request."""
    if settings.tools["nginx"] is None:
        return
    with servers.nginx(settings.tools, settings.server_core) as server:
        title(f"A connection per request, {RECONNECTING} at once, against {server.name}")
        duration = settings.duration
        runs = run_all(settings, server, [
            tools.ringtide(duration, RECONNECTING, "--no-keepalive"),
            *there(settings, "wrk", lambda: tools.wrk(settings.tools, duration, RECONNECTING, "--latency", "-H",
                                                      "Connection: close")),
            *there(settings, "oha", lambda: tools.oha(settings.tools, duration, RECONNECTING, "--disable-keepalive")),
        ])
        table(runs, RECONNECTING)
        connect = runs["ringtide"]["connect_mean_us"]
        say(f"A connect alone takes {time(connect)} (ringtide's phases). ringtide's response has it, its service has not: "
            f"{time(runs['ringtide']['response_mean_us'])} and {time(runs['ringtide']['service_mean_us'])}.")
        for name, run in runs.items():
            if name == "wrk":
                say("wrk counts from when its connection is there, but adds computed samples, so its mean tells neither.")
                continue
            cycle, mean = RECONNECTING / run["requests_per_second"] * 1e6, run["response_mean_us"]
            missing = cycle - mean
            what = "the connect is in it" if missing < connect / 2 else "the connect is not in it, or only in part"
            say(f"{name}: a request with its connect takes {time(cycle)} by Little's law, and {time(mean)} as printed: {what}.")


PARTS = (closed_loop, http2, open_loop, stall, connects)


def places(settings):
    """The servers of the closed loop."""
    yield servers.floor(settings.server_core)
    if settings.tools["nginx"] is not None:
        yield servers.nginx(settings.tools, settings.server_core)


def there(settings, name, make):
    """The tool, if it is installed."""
    return [] if settings.tools[name] is None else [make()]


def open_tools(settings, rate):
    duration = settings.duration
    flags = ("-q", str(rate))
    corrected = there(settings, "oha", lambda: tools.oha(settings.tools, duration, CONNECTIONS, *flags, "--latency-correction"))
    for tool in corrected:
        tool.name = "oha --latency-correction"
    return [
        tools.ringtide(duration, CONNECTIONS, "-R", str(rate)),
        *there(settings, "oha", lambda: tools.oha(settings.tools, duration, CONNECTIONS, *flags)),
        *corrected,
        *there(settings, "h2load", lambda: rated_h2load(settings, rate)),
    ]


def rated_h2load(settings, rate):
    plain = tools.h2load(settings.tools, settings.duration, CONNECTIONS)

    def command(url):
        # Of each client; it takes whole numbers only.
        return [*plain.command(url)[:-1], f"--rps={max(1, rate // CONNECTIONS)}", url]

    return tools.Tool("h2load --rps", command, tools.read_h2load)


def run_all(settings, server, generators, during=None):
    """Runs the tools one after the other; returns their readings by name."""
    runs = {}
    for tool in generators:
        timer = during() if during else None
        try:
            runs[tool.name] = measure_one(settings, "compare-tools", Case(tool.name, tool, server))
        finally:
            if timer:
                timer.cancel()
                server.resume()
    return runs


def stop_for(server, after_seconds, seconds):
    """Stops the server for some time, some time from now."""
    def stop():
        server.pause()
        threading.Timer(seconds, server.resume).start()

    timer = threading.Timer(after_seconds, stop)
    timer.start()
    return timer


def table(runs, in_flight=None):
    heads = ["", "requests/s", "mean", "p50", "p99", "CPU/request", "its core", "server's"]
    if in_flight:
        heads.insert(3, "by Little's law")
    rows = [heads]
    for name, run in runs.items():
        row = [name, f"{run['requests_per_second']:,.0f}", time(run["response_mean_us"]), time(run.get("response_p50_us")),
               time(run.get("response_p99_us")), f"{run['cpu_us_per_request']:.2f} µs", f"{run['generator_core_share']:.0%}",
               f"{run['server_core_share']:.0%}"]
        if in_flight:
            row.insert(3, time(in_flight / run["requests_per_second"] * 1e6))
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        print("  " + row[0].ljust(widths[0]) + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:])))


def explain_rates(runs):
    best = max(runs.values(), key=lambda run: run["requests_per_second"])
    for name, run in runs.items():
        own, server = run["generator_core_share"], run["server_core_share"]
        if run is best:
            continue
        fewer = 1 - run["requests_per_second"] / best["requests_per_second"]
        whose = (f"its own core is full ({own:.0%}), so the rate is its own limit" if own >= BUSY_SHARE else
                 f"the server's core is full ({server:.0%}), so it is the server's limit" if server >= BUSY_SHARE else
                 f"neither core is full (its own {own:.0%}, the server's {server:.0%}): both wait for each other")
        say(f"{name} sends {fewer:.0%} fewer than {best['case']}: {whose}.")


def explain_mean(name, run, in_flight):
    """Compares the printed mean with Little's law."""
    cycle, mean = in_flight / run["requests_per_second"] * 1e6, run["response_mean_us"]
    apart = mean / cycle - 1
    if abs(apart) <= MEAN_TOLERANCE:
        return
    figures = f"{name} prints a mean of {time(mean)}, {abs(apart):.0%} {'below' if apart < 0 else 'above'} Little's law ({time(cycle)})"
    if apart > 0 and name == "wrk":
        say(f"{figures}: it adds computed samples for responses above twice the mean interval (stats_correct in its source).")
    elif apart > 0:
        say(f"{figures}: it counts time in which no request of the measured part was in flight, or leaves requests out.")
    else:
        # Between a response and the next request of its stream, the tool works on what else it has received.
        own = in_flight * run["cpu_us_per_request"]
        say(f"{figures}: {time(cycle - mean)} of each request are in no figure. That is between a response and the next send; "
            f"the tool's own work on {in_flight} requests takes {time(own)}.")


def explain_open(runs):
    ours = runs["ringtide"]
    say(f"ringtide's response counts from when a request was due: p50 {time(ours['response_p50_us'])}. From the send (service) it "
        f"is {time(ours['service_p50_us'])}; the schedule lag has a p50 of {time(ours['schedule_lag_p50_us'])}.")
    plain, corrected = runs.get("oha"), runs.get("oha --latency-correction")
    if plain and corrected:
        apart = corrected["response_p50_us"] - plain["response_p50_us"]
        say(f"oha counts from the send unless told otherwise: p50 {time(plain['response_p50_us'])}, and "
            f"{time(corrected['response_p50_us'])} from the schedule. The {time(apart)} between them are its own lateness.")
    if rated := runs.get("h2load --rps"):
        say(f"h2load's rate is one of each client ({CONNECTIONS} of them), from when its connection is there: "
            f"{rated['requests_per_second']:,.0f}/s in all. It counts from the send.")


def explain_stall(name, run, honest_us):
    mean = run["response_mean_us"]
    if name == "wrk":
        cycle = CONNECTIONS / run["requests_per_second"] * 1e6
        say(f"wrk: {time(mean)}. It is a closed loop, in which at most {CONNECTIONS} of {run['requests']:,} requests waited: by "
            f"Little's law the measured mean is {time(cycle)}. The rest comes from samples that it computed (stats_correct).")
    elif mean >= 0.9 * honest_us:
        say(f"{name}: {time(mean)}: it shows the stop.")
    else:
        say(f"{name}: {time(mean)}: it hides {1 - mean / honest_us:.0%} of the wait (coordinated omission). It counts from the send, "
            f"and at most {CONNECTIONS} of {run['requests']:,} requests were on their way.")


def time(us):
    if us is None:
        return "–"
    sign, us = ("-" if us < 0 else ""), abs(us)
    return sign + (f"{us:.1f} µs" if us < 1000 else f"{us / 1000:.2f} ms" if us < 1e6 else f"{us / 1e6:.2f} s")


def title(text):
    print(f"\n{text}\n", flush=True)


def say(text):
    print(f"  - {text}", flush=True)
