//! Prometheus' alerts, as the object that its operator on Kubernetes takes them from.

/// The alerts, within the repository.
pub const ALERTS: &str = "deploy/prometheus/alerts.yaml";
/// The object made of them.
pub const RULE: &str = "deploy/kubernetes/components/monitoring/prometheusrule.yaml";

const HEAD: &str = "\
# Made of deploy/prometheus/alerts.yaml by `fleetscan catalogue write .`; do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: fleetscan
spec:
";

/// The alerts' text, as part of the object.
pub fn rule(alerts: &str) -> String {
    let mut text = HEAD.to_owned();
    for line in alerts.lines().skip_while(|line| line.starts_with('#')) {
        let indent = if line.is_empty() { "" } else { "  " };
        text += &format!("{indent}{line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_become_part_of_an_object() {
        let made = rule("# what for\ngroups:\n  - name: a\n\n    rules: []\n");
        assert_eq!(made, format!("{HEAD}  groups:\n    - name: a\n\n      rules: []\n"));
    }
}
