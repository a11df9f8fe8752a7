//! What an EC2 permission lets in.

use serde::Deserialize;
use serde_json::Value;

/// A way in from the whole world.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exposure {
    /// To one of these TCP ports; none: to every port.
    #[serde(default)]
    pub ports: Vec<u16>,
}

impl Exposure {
    /// Whether a permission (of `IpPermissions`) is such a way in.
    pub(super) fn is(&self, permission: &Value) -> bool {
        let at = |lists: &str, member: &str, world: &str| {
            let ranges = permission.get(lists).and_then(Value::as_array);
            ranges.is_some_and(|ranges| {
                ranges.iter().any(|range| range.get(member).and_then(Value::as_str) == Some(world))
            })
        };
        (at("IpRanges", "CidrIp", "0.0.0.0/0") || at("Ipv6Ranges", "CidrIpv6", "::/0")) && self.reaches(permission)
    }

    fn reaches(&self, permission: &Value) -> bool {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let protocol = permission.get("IpProtocol").map(text).unwrap_or_default();
        if protocol == "-1" {
            return true;
        }
        let port = |name: &str| permission.get(name).and_then(Value::as_i64);
        let (Some(from), Some(to)) = (port("FromPort"), port("ToPort")) else { return false };
        match self.ports.as_slice() {
            [] => from <= 0 && to >= 65_535,
            ports => {
                matches!(protocol.as_str(), "tcp" | "6") && ports.iter().any(|p| (from..=to).contains(&i64::from(*p)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_world_and_the_port_must_both_be_there() {
        let ssh = Exposure { ports: vec![22] };
        let every = Exposure { ports: Vec::new() };
        let to = |protocol: &str, from: i64, to: i64, cidr: &str| json!({"IpProtocol": protocol, "FromPort": from, "ToPort": to, "IpRanges": [{"CidrIp": cidr}], "Ipv6Ranges": []});
        assert!(ssh.is(&to("tcp", 22, 22, "0.0.0.0/0")));
        assert!(ssh.is(&to("tcp", 0, 65_535, "0.0.0.0/0")));
        assert!(!ssh.is(&to("udp", 22, 22, "0.0.0.0/0")));
        assert!(!ssh.is(&to("tcp", 23, 80, "0.0.0.0/0")));
        assert!(!ssh.is(&to("tcp", 22, 22, "10.0.0.0/8")));
        assert!(!every.is(&to("tcp", 22, 22, "0.0.0.0/0")));
        assert!(every.is(&to("tcp", 0, 65_535, "0.0.0.0/0")));
        let all = json!({"IpProtocol": "-1", "IpRanges": [], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]});
        assert!(ssh.is(&all) && every.is(&all));
    }
}
