//! The relay's metrics page, read.

use std::collections::BTreeMap;

/// A page in Prometheus' text format.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page(Vec<Series>);

#[derive(Clone, Debug, PartialEq)]
struct Series {
    name: String,
    labels: String,
    value: f64,
}

impl Page {
    /// Lines that are no samples are left out.
    pub fn parse(text: &str) -> Page {
        Page(text.lines().filter(|line| !line.starts_with('#')).filter_map(Series::parse).collect())
    }

    /// The sum over all labels; 0 for what is not counted yet.
    pub fn sum(&self, name: &str) -> f64 {
        self.series(name).map(|series| series.value).fold(0.0, std::ops::Add::add)
    }

    /// Sums by one label's value, without those that are 0.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for series in self.series(name).filter(|series| series.value > 0.0) {
            *sums.entry(series.label(label).unwrap_or_default().to_owned()).or_default() += series.value;
        }
        sums
    }

    fn series(&self, name: &str) -> impl Iterator<Item = &Series> {
        self.0.iter().filter(move |series| series.name.strip_prefix("scim_relay_") == Some(name))
    }
}

impl Series {
    fn parse(line: &str) -> Option<Series> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Series { name: name.to_owned(), labels: labels.to_owned(), value: value.parse().ok()? })
    }

    /// Labels of the relay are plain words: no quotes to undo.
    fn label(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.labels.split_once(&format!("{name}=\""))?;
        rest.split_once('"').map(|(value, _)| value)
    }
}
