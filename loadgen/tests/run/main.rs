//! `ringtide run` from outside: the binary against scripted servers (standard library only), with both drivers. Unit
//! tests of the library are next to its code.

/// Makes two tests of each function, one per driver. The function gets the name of the driver.
macro_rules! on_both_drivers {
    ($($case:ident),+ $(,)?) => {
        mod io_uring {
            $(#[test]
            fn $case() {
                if crate::command::is_io_uring_usable() {
                    super::$case("io_uring");
                }
            })+
        }

        mod fallback {
            $(#[test]
            fn $case() {
                super::$case("fallback");
            })+
        }
    };
}

mod certificates;
mod command;
mod counts;
mod decide;
mod drain;
mod expect;
mod faults;
mod figures;
mod files;
mod http2;
mod http2_server;
mod live;
mod output;
mod outputs;
mod page;
mod proxy;
mod replay;
mod scenario;
mod schedule;
mod series;
mod server;
mod site;
mod spinning;
mod stages;
mod start;
mod terminal;
mod tls;
mod urls;
mod verdict;
mod wire;
