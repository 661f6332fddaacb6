//! Which flags of `run` contradict each other, and why.

use std::net::SocketAddr;

use super::flags::RunArgs;
use crate::error::UsageError;
use crate::plan::{ALPN_H2, Plan, ProxyKind};
use crate::units::{TYPED_TIME_MAX_NS, show_typed_time_ns};

/// Contradictions between flags as given, whatever the defaults.
pub(super) fn check_flags(args: &RunArgs) -> Result<(), UsageError> {
    if args.unix.is_some() && args.connect_to.is_some() {
        return contradiction("--unix", "--connect-to", "a connection goes to one address");
    }
    if args.unix.is_some() && args.proxy.is_some() {
        return contradiction("--unix", "--proxy", "a Unix socket is on this machine");
    }
    if args.unix.is_some() && !args.resolve.is_empty() {
        return contradiction("--unix", "--resolve", "a Unix socket has no name to resolve");
    }
    if args.unix.is_some() && args.bind.is_some() {
        return contradiction("--unix", "--bind", "a Unix socket has no source address");
    }
    if args.no_keepalive && args.parallel.is_some_and(|parallel| parallel > 1) {
        return contradiction(
            "--no-keepalive",
            "--parallel (-p) above 1",
            "a connection that serves one request has one in flight at most",
        );
    }
    check_files(args)?;
    if let Some(rate) = &args.rate
        && args.requests.is_some()
        && args.duration.is_none()
        && rate.start.to_bits() != rate.end.to_bits()
    {
        return contradiction(
            format!("--rate (-R) {}:{}", rate.start, rate.end),
            "--requests (-n)",
            "a ramp needs to know how long it takes; add --duration (-d)",
        );
    }
    if args.stages.is_some() {
        for (given, flag, why) in [
            (args.rate.is_some(), "--rate (-R)", "each stage has its own rate"),
            (args.duration.is_some(), "--duration (-d)", "the run takes as long as its stages"),
            (args.requests.is_some(), "--requests (-n)", "the stages say how many requests there are"),
        ] {
            if given {
                return contradiction("--stages", flag, why);
            }
        }
    }
    if args.replay.is_some() {
        const HAS_ALL: &str = "the file says when each request is due, and what it is";
        for (given, flag) in [
            (args.rate.is_some(), "--rate (-R)"),
            (args.stages.is_some(), "--stages"),
            (args.arrival.is_some(), "--arrival"),
            (args.requests.is_some(), "--requests (-n)"),
            (args.urls.is_some(), "--urls"),
            (args.method.is_some(), "--method (-m)"),
            (args.body.is_some(), "--body (-b)"),
        ] {
            if given {
                return contradiction("--replay", flag, HAS_ALL);
            }
        }
    }
    if args.rate.is_none() && args.stages.is_none() && args.replay.is_none() {
        for (given, flag, why) in [
            (args.arrival.is_some(), "--arrival", "without a rate, each response triggers the next request"),
            (
                args.max_connections.is_some(),
                "--max-connections",
                "without a rate, a run never needs more than --connections (-c)",
            ),
        ] {
            if given {
                return Err(UsageError::Needs { flag, missing: "--rate (-R), --stages or --replay", why });
            }
        }
    }
    if let (Some(rate), Some(requests), None) = (&args.rate, args.requests, args.duration)
        && requests as f64 / rate.start > TYPED_TIME_MAX_NS as f64 / 1e9
    {
        return contradiction(
            format!("--rate (-R) {}", rate.start),
            format!("--requests (-n) {requests}"),
            format!("the last request would be due after {}", show_typed_time_ns(TYPED_TIME_MAX_NS)),
        );
    }
    Ok(())
}

/// Two outputs cannot have one file.
fn check_files(args: &RunArgs) -> Result<(), UsageError> {
    let files = [
        ("--output (-o)", &args.output),
        ("--timeseries", &args.timeseries),
        ("--hdr", &args.hdr),
        ("--summary", &args.summary),
        ("--junit", &args.junit),
        ("--openmetrics", &args.openmetrics),
        ("--html", &args.html),
    ];
    let given: Vec<_> = files.iter().filter_map(|(flag, file)| Some((flag, file.as_ref()?))).collect();
    for (index, (flag, file)) in given.iter().enumerate() {
        // A device such as /dev/null takes everything.
        if let Some((other, _)) = given[..index].iter().find(|(_, other)| other == file)
            && !file.starts_with("/dev")
        {
            let name = file.display();
            return contradiction(
                format!("{other} {name}"),
                format!("{flag} {name}"),
                "each writes a file of its own",
            );
        }
    }
    Ok(())
}

/// An address for a name that nothing connects to would change nothing.
pub(super) fn check_resolve(plan: &Plan) -> Result<(), UsageError> {
    let server = plan.server();
    let proxy = plan.proxy.as_ref();
    // Some proxies resolve the server's name themselves.
    let own_server = server.filter(|_| proxy.is_none_or(|proxy| proxy.kind == ProxyKind::Socks5));
    let resolved = [own_server, proxy.map(|proxy| (&*proxy.host, proxy.port))];
    for resolve in &plan.resolve {
        let is_for = |(host, port): (&str, u16)| resolve.is_for(host, port);
        if resolved.into_iter().flatten().any(is_for) {
            continue;
        }
        let problem = match server {
            Some(server) if is_for(server) => format!(
                "the proxy resolves {} itself; use socks5:// for the proxy, or --connect-to {}",
                resolve.host,
                SocketAddr::new(resolve.address, resolve.port)
            ),
            Some((host, port)) => {
                format!("nothing connects to {}:{}; the server is {host}:{port}", resolve.host, resolve.port)
            }
            None => "a Unix socket has no name to resolve".to_owned(),
        };
        return Err(UsageError::Value { flag: "--resolve", problem });
    }
    Ok(())
}

/// Contradictions between the TLS flags and the URL, or each other.
pub(super) fn check_tls(args: &RunArgs, is_https: bool) -> Result<(), UsageError> {
    let given = [
        (args.insecure, "--insecure (-k)"),
        (args.cacert.is_some(), "--cacert"),
        (args.cert.is_some(), "--cert"),
        (args.key.is_some(), "--key"),
        (args.sni.is_some(), "--sni"),
        (args.alpn.is_some(), "--alpn"),
        (args.tls_resumption.is_some(), "--tls-resumption"),
        (args.tls_min.is_some(), "--tls-min"),
        (args.tls_max.is_some(), "--tls-max"),
        (args.tls_groups.is_some(), "--tls-groups"),
        (args.ciphers.is_some(), "--ciphers"),
        (args.keylog.is_some(), "--keylog"),
    ];
    if let Some((_, flag)) = given.into_iter().find(|(given, _)| *given && !is_https) {
        return Err(UsageError::Needs {
            flag,
            missing: "an https:// URL",
            why: "with http:// there is no TLS",
        });
    }
    if args.insecure && args.cacert.is_some() {
        return contradiction("--insecure (-k)", "--cacert", "-k accepts any certificate");
    }
    check_cert(args.cert.is_some(), args.key.is_some())?;
    if let (Some(min), Some(max)) = (args.tls_min, args.tls_max)
        && min > max
    {
        return contradiction(
            format!("--tls-min {min}"),
            format!("--tls-max {max}"),
            "no version is between them",
        );
    }
    Ok(())
}

/// Contradictions between the flags of the HTTP version, what is offered in ALPN, and the URL.
pub(super) fn check_http(args: &RunArgs, is_https: bool) -> Result<(), UsageError> {
    if args.http1 && args.http2 {
        return contradiction("--http1", "--http2", "all requests are sent in one version");
    }
    let offers = |name: &str| args.alpn.as_ref().map(|list| list.0.iter().any(|offered| offered == name));
    if args.http1 && offers(ALPN_H2) == Some(true) {
        return contradiction("--http1", format!("--alpn with {ALPN_H2}"), "that offers HTTP/2");
    }
    if args.http2 && args.alpn.as_ref().is_some_and(|list| list.0 != [ALPN_H2]) {
        return contradiction("--http2", "--alpn", format!("it offers {ALPN_H2} and nothing else"));
    }
    let settings = [
        (args.h2_window.is_some(), "--h2-window"),
        (args.h2_header_table_size.is_some(), "--h2-header-table-size"),
    ];
    let Some((_, flag)) = settings.into_iter().find(|(given, _)| *given) else { return Ok(()) };
    if args.http1 {
        return contradiction("--http1", flag, "it is a setting of HTTP/2");
    }
    if offers(ALPN_H2) == Some(false) {
        return contradiction(format!("--alpn without {ALPN_H2}"), flag, "it is a setting of HTTP/2");
    }
    if !args.http2 && !is_https {
        let why = "with http://, HTTP/1.1 is spoken unless HTTP/2 is asked for";
        return Err(UsageError::Needs { flag, missing: "--http2", why });
    }
    Ok(())
}

/// A certificate and its key come together.
pub(super) fn check_cert(cert: bool, key: bool) -> Result<(), UsageError> {
    let why = "a certificate is of use only with its private key; one file may hold both";
    match (cert, key) {
        (true, false) => Err(UsageError::Needs { flag: "--cert", missing: "--key", why }),
        (false, true) => Err(UsageError::Needs { flag: "--key", missing: "--cert", why }),
        _ => Ok(()),
    }
}

/// Contradictions between numbers, defaults included.
pub(super) fn check_numbers(args: &RunArgs, connections: usize, threads: usize) -> Result<(), UsageError> {
    if threads > connections {
        return contradiction(
            format!("--threads (-t) {threads}"),
            format!("--connections (-c) {connections}"),
            "each thread needs at least one connection",
        );
    }
    if let Some(cpus) = &args.cpus
        && threads > cpus.0.len()
    {
        return contradiction(
            format!("--threads (-t) {threads}"),
            format!("--cpus with {} core{}", cpus.0.len(), if cpus.0.len() == 1 { "" } else { "s" }),
            "each thread is pinned to a core of its own",
        );
    }
    if let Some(most) = args.max_connections
        && most < connections
    {
        return contradiction(
            format!("--max-connections {most}"),
            format!("--connections (-c) {connections}"),
            "--max-connections cannot be less than the connections open from the start",
        );
    }
    Ok(())
}

fn contradiction(
    first: impl Into<String>,
    second: impl Into<String>,
    why: impl Into<String>,
) -> Result<(), UsageError> {
    Err(UsageError::Contradiction { first: first.into(), second: second.into(), why: why.into() })
}
