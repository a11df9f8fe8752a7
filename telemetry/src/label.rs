//! Labels whose values are known beforehand.

use prometheus::core::{MetricVec, MetricVecBuilder};
use std::{collections::BTreeSet, sync::Arc};

/// Stands for a value that was not announced.
pub const OTHER: &str = "other";

/// A label's name and all the values that it may have.
#[derive(Debug, Clone)]
pub struct Label {
    name: &'static str,
    values: Arc<BTreeSet<String>>,
}

impl Label {
    /// A label with these values; every other one is shown as [`OTHER`].
    pub fn new(name: &'static str, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { name, values: Arc::new(values.into_iter().map(Into::into).collect()) }
    }
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
    /// Its values.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(String::as_str)
    }
    /// The most values that it can have, [`OTHER`] included.
    pub fn bound(&self) -> usize {
        self.values.len() + 1
    }
    fn admit<'a>(&self, value: &'a str) -> &'a str {
        if self.values.contains(value) { value } else { OTHER }
    }
}

/// A family of metrics, as the `prometheus` crate has it.
pub trait Vector {
    /// One of its metrics.
    type One;
    /// The metric with these values of its labels.
    fn one(&self, values: &[&str]) -> Self::One;
    /// Forgets every metric.
    fn clear(&self);
}

impl<B: MetricVecBuilder> Vector for MetricVec<B> {
    type One = B::M;
    fn one(&self, values: &[&str]) -> B::M {
        self.with_label_values(values)
    }
    fn clear(&self) {
        self.reset();
    }
}

/// A family of metrics whose labels are bounded.
#[derive(Debug, Clone)]
pub struct Family<V> {
    vector: V,
    labels: Arc<[Label]>,
}

impl<V: Vector> Family<V> {
    pub(crate) fn new(vector: V, labels: &[Label]) -> Self {
        Self { vector, labels: labels.into() }
    }

    /// The metric with these values, in the order in which the labels were announced.
    ///
    /// # Panics
    /// When there are more or fewer values than labels: a mistake of the caller's.
    pub fn with(&self, values: &[&str]) -> V::One {
        assert_eq!(values.len(), self.labels.len(), "a value for each label");
        let admitted: Vec<&str> = self.labels.iter().zip(values).map(|(label, value)| label.admit(value)).collect();
        self.vector.one(&admitted)
    }

    /// Forgets every metric of the family.
    pub fn clear(&self) {
        self.vector.clear();
    }

    /// Makes the metrics of a family with one label appear with their zeros before anything has happened.
    pub fn begin(&self) {
        if let [label] = &*self.labels {
            for value in label.values() {
                let _zero = self.vector.one(&[value]);
            }
        }
    }

    /// The most metrics that the family can have.
    pub fn bound(&self) -> usize {
        self.labels.iter().map(Label::bound).product()
    }

    /// As the crate has it, for a [`prometheus::core::Collector`].
    pub fn vector(&self) -> &V {
        &self.vector
    }
}
