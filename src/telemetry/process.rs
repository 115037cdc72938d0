//! What the system knows of this process, by the names that every exporter gives it, and which build it is.
//!
//! Read at each scrape; what the system does not say is left out. Linux alone has `/proc`.

use std::fmt::Write as _;
use std::fs;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The unit of the times in `/proc/self/stat`: the same on all of Linux's machines (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Appends the metrics as OpenMetrics, without the end of the text.
pub(super) fn write(out: &mut String) {
    let mut add = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        let Some(value) = value else { return };
        let sample = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
        // Writing to memory cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}\n{sample} {value}");
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    add("process_cpu_seconds", "counter", "Time that this process has had of the processors, in seconds", cpu());
    add("process_open_fds", "gauge", "Open files", open_files());
    add("process_max_fds", "gauge", "The most open files that it may have", max_files());
    add("process_resident_memory_bytes", "gauge", "Memory that it has in use", kibibytes(&status, "VmRSS:"));
    add("process_virtual_memory_bytes", "gauge", "Addresses that it has", kibibytes(&status, "VmSize:"));
    add("process_threads", "gauge", "Its threads", number(&status, "Threads:"));
    add("process_start_time_seconds", "gauge", "When it began, in seconds since 1970", start());
    let version = env!("CARGO_PKG_VERSION");
    let _ = writeln!(
        out,
        "# HELP session_gateway_build_info Which build this is.\n# TYPE session_gateway_build_info gauge\n\
         session_gateway_build_info{{version=\"{version}\"}} 1"
    );
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a process are far from where a float loses any")]
fn cpu() -> Option<f64> {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[expect(clippy::cast_precision_loss, reason = "no process has so many files")]
fn open_files() -> Option<f64> {
    // One of them is the look itself.
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "no process has so many files")]
fn max_files() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|most| most as f64)
}

fn number(status: &str, name: &str) -> Option<f64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    number(status, name).map(|kibibytes| kibibytes * 1024.0)
}

fn start() -> Option<f64> {
    let (stat, machine) = (fs::read_to_string("/proc/self/stat").ok()?, fs::read_to_string("/proc/stat").ok()?);
    Some(number(&machine, "btime")? + ticks_until_start(&stat)? / TICKS)
}

/// From the machine's start to the process's: the twenty-second field. The second is a name in brackets, which may hold
/// anything.
fn ticks_until_start(stat: &str) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_exporter_says_of_a_process_is_there_and_plausible() {
        let mut text = String::new();
        write(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")));
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);
        let year_2020 = 1_577_836_800.0;
        assert!(value("process_start_time_seconds") > year_2020);
        assert!(text.contains(concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")));
    }

    #[test]
    fn a_processs_name_hides_nothing_that_comes_after_it() {
        let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        assert_eq!(ticks_until_start(&format!("7 (a) b ) {}", fields.join(" "))), Some(22.0));
        assert_eq!(ticks_until_start("7 (a"), None);
    }
}
