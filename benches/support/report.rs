//! Numbers beside their bounds.

use std::process::ExitCode;

/// What was measured, printed as it comes.
#[derive(Debug, Default)]
pub struct Report {
    missed: usize,
}

impl Report {
    /// A number that has no bound.
    pub fn note(&self, what: &str, value: f64, unit: &str) {
        println!("  {what:<58} {value:>10.1} {unit}");
    }

    /// A number that may not be greater than its bound.
    pub fn at_most(&mut self, what: &str, value: f64, bound: f64, unit: &str) {
        self.judge(what, value, &format!("at most {bound} {unit}"), value <= bound);
    }

    /// A number that may not be less than its bound.
    pub fn at_least(&mut self, what: &str, value: f64, bound: f64, unit: &str) {
        self.judge(what, value, &format!("at least {bound} {unit}"), value >= bound);
    }

    /// Something that is so, or is not.
    pub fn holds(&mut self, what: &str, holds: bool) {
        let verdict = if holds { "holds" } else { "MISSED" };
        println!("  {what:<58} {verdict:>10}");
        self.missed += usize::from(!holds);
    }

    fn judge(&mut self, what: &str, value: f64, bound: &str, holds: bool) {
        let verdict = if holds { "holds" } else { "MISSED" };
        println!("  {what:<58} {value:>10.3} {}: {verdict}", bound.trim_end());
        self.missed += usize::from(!holds);
    }

    /// 1 if a bound was missed.
    pub fn end(self) -> ExitCode {
        if self.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The value below which this share of the numbers lies.
pub fn quantile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at]
}
