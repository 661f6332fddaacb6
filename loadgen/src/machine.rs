//! What happens to the machine during a run and is no work of the generator's: cores that the hypervisor takes away, a wall
//! clock that is set, a suspended machine.
//!
//! It is read once before the measured part and once after it, by the thread that leads the workers. Nothing here judges.

use std::fs;
use std::ops::RangeInclusive;

use nix::time::ClockId;

use crate::environment::{boot_clock_ns, clock_ns};
use crate::metrics::MachineFacts;

/// How often a pair of clocks is read. The pair with the least time between its halves counts.
const CLOCK_READINGS: usize = 5;

/// Watches the machine from its creation on.
#[derive(Debug)]
pub struct MachineMeter {
    cores: Cores,
    before: Reading,
}

/// The state of the machine at one moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// How far the wall clock is ahead of the monotonic one.
    wall_ahead_ns: Option<i128>,
    /// How far the clock that also runs in suspension is ahead of it.
    boot_ahead_ns: Option<i128>,
    ticks: Option<Ticks>,
}

/// The times of some cores, in ticks of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    all: u64,
    stolen: u64,
    /// How many cores these are.
    cores: u64,
}

/// Which cores are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cores {
    These(Vec<usize>),
    All,
}

impl MachineMeter {
    /// Begins to watch. `cpus` are the cores that the workers are pinned to; `None` if they may use all that the process
    /// may use.
    pub fn begin(cpus: Option<&[usize]>) -> Self {
        let cores = match cpus {
            Some(cpus) => Cores::These(cpus.to_vec()),
            None => cores_of_this_process().map_or(Cores::All, Cores::These),
        };
        let before = Reading::now(&cores);
        Self { cores, before }
    }

    /// What happened since [`begin`](Self::begin).
    pub fn end(&self) -> MachineFacts {
        facts(&self.before, &Reading::now(&self.cores), tells_steal())
    }
}

impl Reading {
    fn now(cores: &Cores) -> Self {
        let monotonic = || clock_ns(ClockId::CLOCK_MONOTONIC);
        let ticks = fs::read_to_string("/proc/stat").ok().and_then(|text| ticks(&text, cores));
        Self {
            wall_ahead_ns: ahead_ns(monotonic, || clock_ns(ClockId::CLOCK_REALTIME)),
            boot_ahead_ns: ahead_ns(monotonic, boot_clock_ns),
            ticks,
        }
    }
}

/// What happened between two readings. `tells_steal` is whether a count of 0 since the machine was started can be believed.
fn facts(before: &Reading, after: &Reading, tells_steal: bool) -> MachineFacts {
    let moved = |of: fn(&Reading) -> Option<i128>| Some(of(after)? - of(before)?);
    let ticks = before.ticks.zip(after.ticks);
    let steal = ticks.and_then(|(before, after)| {
        let all = after.all.saturating_sub(before.all);
        let stolen = after.stolen.saturating_sub(before.stolen);
        let is_known = all > 0 && (tells_steal || after.stolen > 0);
        let share = |ticks: u64| (ticks as f64 / all as f64).min(1.0);
        is_known.then(|| (share(stolen), share(stolen.saturating_sub(after.cores))))
    });
    MachineFacts {
        steal_share: steal.map(|(share, _)| share),
        steal_share_least: steal.map(|(_, least)| least),
        clock_step_ns: moved(|reading| reading.wall_ahead_ns)
            .map(|ns| ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64),
        suspended_ns: moved(|reading| reading.boot_ahead_ns).map(|ns| ns.clamp(0, u64::MAX.into()) as u64),
    }
}

/// How far `other` is ahead of `base`. The thread may be interrupted between the two, so the best of several pairs counts.
fn ahead_ns(base: impl Fn() -> Option<i128>, other: impl Fn() -> Option<i128>) -> Option<i128> {
    let mut best = None;
    for _ in 0..CLOCK_READINGS {
        let (before, shown, after) = (base()?, other()?, base()?);
        let gap = after - before;
        if best.is_none_or(|(least, _)| gap < least) {
            best = Some((gap, shown - (before + gap / 2)));
        }
    }
    best.map(|(_, ahead)| ahead)
}

/// The times of `cores` in /proc/stat (proc_stat(5)): `cpuN user nice system idle iowait irq softirq steal …`. The two
/// columns behind these are parts of the first two. `None` if the kernel does not list steal, or none of the cores.
fn ticks(stat: &str, cores: &Cores) -> Option<Ticks> {
    let mut sum = None;
    for line in stat.lines() {
        let Some((core, times)) = line.strip_prefix("cpu").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let Ok(core) = core.parse::<usize>() else { continue };
        if let Cores::These(cores) = cores
            && !cores.contains(&core)
        {
            continue;
        }
        let times: Vec<u64> = times.split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
        let &[.., stolen] = &times[..] else { return None };
        if times.len() < 8 {
            return None;
        }
        let ticks: &mut Ticks = sum.get_or_insert_default();
        ticks.all += times.iter().sum::<u64>();
        ticks.stolen += stolen;
        ticks.cores += 1;
    }
    sum
}

/// The cores that this process may use (proc_pid_status(5)).
fn cores_of_this_process() -> Option<Vec<usize>> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    core_list(list.trim())
}

/// A list such as `0-3,8` (cpuset(7), "Formats").
fn core_list(text: &str) -> Option<Vec<usize>> {
    let range = |part: &str| -> Option<RangeInclusive<usize>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    Some(ranges?.into_iter().flatten().collect())
}

/// Whether this machine would count stolen time. A guest counts none if its hypervisor does not tell it; so with a
/// hypervisor, or where the processor does not say whether there is one, 0 since the start means that nobody knows.
fn tells_steal() -> bool {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    has_no_hypervisor(&text)
}

fn has_no_hypervisor(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|flags| flags.split_whitespace().all(|flag| flag != "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  200 0 0 0 0 0 0 30 5 0\ncpu0 10 1 2 50 3 4 5 25 9 9\ncpu1 90 0 0 5 0 0 0 5 0 0\n\
        cpu10 1 1 1 1 1 1 1 1 0 0\nintr 1 2 3\n";

    #[test]
    fn the_cores_in_use_count_and_no_others() {
        let of = |cores: &[usize]| ticks(STAT, &Cores::These(cores.to_vec()));
        assert_eq!(of(&[0]), Some(Ticks { all: 100, stolen: 25, cores: 1 }));
        assert_eq!(of(&[1]), Some(Ticks { all: 100, stolen: 5, cores: 1 }));
        assert_eq!(of(&[0, 10]), Some(Ticks { all: 108, stolen: 26, cores: 2 }));
        assert_eq!(ticks(STAT, &Cores::All), Some(Ticks { all: 208, stolen: 31, cores: 3 }));
        assert_eq!(of(&[7]), None);
        // Before Linux 2.6.11 there was no steal.
        assert_eq!(ticks("cpu0 10 1 2 50 3 4 5\n", &Cores::All), None);
        assert_eq!(ticks("", &Cores::All), None);
    }

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(core_list("0"), Some(vec![0]));
        assert_eq!(core_list("0-2,5,7-8"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(core_list(""), None);
        assert_eq!(core_list("0-x"), None);
    }

    fn reading(wall: i128, boot: Option<i128>, ticks: Option<Ticks>) -> Reading {
        Reading { wall_ahead_ns: Some(wall), boot_ahead_ns: boot, ticks }
    }

    #[test]
    fn what_happened_is_the_difference() {
        let ticks = |all, stolen| Some(Ticks { all, stolen, cores: 2 });
        let before = reading(1_000, Some(50), ticks(1_000, 100));
        let after = reading(-500, Some(80), ticks(1_400, 120));
        let found = facts(&before, &after, false);
        assert_eq!((found.clock_step_ns, found.suspended_ns), (Some(-1_500), Some(30)));
        assert!(found.steal_share.is_some_and(|share| (share - 0.05).abs() < 1e-12), "{found:?}");
        // On each of the two cores, one tick may have begun before.
        assert!(found.steal_share_least.is_some_and(|share| (share - 0.045).abs() < 1e-12), "{found:?}");
        // The two clocks are not read at the same moment, so the difference may be a little below 0.
        assert_eq!(facts(&after, &reading(0, Some(79), None), true).suspended_ns, Some(0));
    }

    #[test]
    fn what_is_not_told_is_unknown_and_not_zero() {
        let never = Some(Ticks { all: 1_000, stolen: 0, cores: 2 });
        let later = Some(Ticks { all: 2_000, stolen: 0, cores: 2 });
        let steal = |tells| facts(&reading(0, None, never), &reading(0, None, later), tells).steal_share;
        assert_eq!((steal(false), steal(true)), (None, Some(0.0)));
        // No tick has passed.
        assert_eq!(facts(&reading(0, None, never), &reading(0, None, never), true).steal_share, None);
        let unknown = facts(&reading(0, None, None), &reading(0, None, later), true);
        assert_eq!((unknown.steal_share, unknown.suspended_ns), (None, None));
        assert!(has_no_hypervisor("processor : 0\nflags : fpu vme\n"));
        assert!(!has_no_hypervisor("flags : fpu hypervisor vme\n"));
        assert!(!has_no_hypervisor("Features : fp asimd\n"), "not said");
    }

    #[test]
    fn a_step_of_a_clock_is_seen_beside_one_that_goes_on() {
        let now = std::cell::Cell::new(0_i128);
        let tick = || Some(now.replace(now.get() + 10));
        // `other` is read 10 after `base`, and shows what `base` would, and 7,000 more.
        assert_eq!(ahead_ns(tick, || tick().map(|ns| ns + 7_000)), Some(7_000));
        assert_eq!(ahead_ns(tick, || None), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_keeps_its_clocks() {
        let meter = MachineMeter::begin(None);
        assert!(matches!(&meter.cores, Cores::These(cores) if !cores.is_empty()), "{meter:?}");
        std::thread::sleep(std::time::Duration::from_millis(30));
        let facts = meter.end();
        // Nobody sets the clock by a minute while tests run, or suspends the machine.
        let minute_ns = 60_000_000_000;
        assert!(facts.clock_step_ns.is_some_and(|step| step.unsigned_abs() < minute_ns), "{facts:?}");
        assert!(facts.suspended_ns.is_some_and(|ns| ns < minute_ns), "{facts:?}");
        assert!(facts.steal_share.is_none_or(|share| (0.0..=1.0).contains(&share)), "{facts:?}");
    }
}
