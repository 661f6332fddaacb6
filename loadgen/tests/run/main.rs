//! `ringtide run` as its users meet it: the binary against servers of the standard library that do what a test says, on
//! both drivers. What the library's parts do by themselves is tested beside them.

/// Makes two tests of each function: one on each driver. A function gets the name of its driver.
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

mod command;
mod counts;
mod faults;
mod figures;
mod output;
mod schedule;
mod server;
mod start;
mod wire;
