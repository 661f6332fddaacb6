//! How long a request is delayed, and when the server stalls.

use std::str::FromStr;

/// How delays are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Delays {
    Fixed { ns: u64 },
    Bimodal { ns: u64, slow_ns: u64, slow_share: f64 },
    Uniform { least_ns: u64, most_ns: u64 },
}

impl FromStr for Delays {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "not T, T,T,SHARE or T..T, such as 1ms, 1ms,20ms,0.07 or 0ms..100ms";
        if let Some((least, most)) = text.split_once("..") {
            let (least_ns, most_ns) = (time_ns(least).ok_or(WANTED)?, time_ns(most).ok_or(WANTED)?);
            return if least_ns < most_ns { Ok(Self::Uniform { least_ns, most_ns }) } else { Err(WANTED) };
        }
        match text.split(',').collect::<Vec<_>>()[..] {
            [one] => Ok(Self::Fixed { ns: time_ns(one).ok_or(WANTED)? }),
            [one, slow, share] => {
                let slow_share =
                    share.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or(WANTED)?;
                Ok(Self::Bimodal {
                    ns: time_ns(one).ok_or(WANTED)?,
                    slow_ns: time_ns(slow).ok_or(WANTED)?,
                    slow_share,
                })
            }
            _ => Err(WANTED),
        }
    }
}

impl Delays {
    /// Draws a delay.
    pub(crate) fn draw_ns(self, random: &mut Random) -> u64 {
        match self {
            Self::Fixed { ns } => ns,
            Self::Bimodal { ns, slow_ns, slow_share } => {
                if random.share() < slow_share {
                    slow_ns
                } else {
                    ns
                }
            }
            Self::Uniform { least_ns, most_ns } => {
                least_ns + (random.share() * (most_ns - least_ns) as f64) as u64
            }
        }
    }
}

/// A time such as `20ms`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Time {
    pub(crate) ns: u64,
}

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        time_ns(text).map(|ns| Self { ns }).ok_or("not a time such as 200ms")
    }
}

fn time_ns(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit_ns = match &text[digits.len()..] {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit_ns)
}

/// A generator of random numbers (xorshift64*); the same sequence in each process.
pub(crate) struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    /// At least 0 and less than 1.
    fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
