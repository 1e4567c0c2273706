//! What a rule of a security group admits: whom, by which protocols, and to which ports.

use std::net::IpAddr;

use aws_sdk_ec2::types::SecurityGroupRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shortest prefix that is not taken for everyone: the widest private network is `10.0.0.0/8` (RFC 1918), so that what is wider holds public addresses.
/// Of IPv6, registries hand out nothing that is wider either.
const NARROW: u8 = 8;

/// What EC2 calls all protocols.
const ALL: &str = "-1";

aaws::text_type! {
    /// A port, or a range of ports: `22`, `8000-8100`.
    pub struct PortRange { "type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$" } |text| bounds(text).map(drop)
}

/// The first and the last port of a range.
fn bounds(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(format!("`{text}` is no port and no range of ports: give 22 or 8000-8100, say, of 0 to 65535")),
    }
}

impl PortRange {
    /// Whether a rule admits to one of these ports. Types of ICMP messages are no ports.
    pub(super) fn is_admitted_by(&self, rule: &SecurityGroupRule) -> bool {
        let Ok((first, last)) = bounds(self.as_str()) else { return false };
        match protocol(rule) {
            ALL => true,
            "tcp" | "udp" => {
                let (from, to) = (rule.from_port().unwrap_or(-1), rule.to_port().unwrap_or(-1));
                // Without ports it is for all of them.
                from < 0 || (from <= i32::from(last) && i32::from(first) <= to)
            }
            _ => false,
        }
    }
}

/// A protocol of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    All,
}

impl Protocol {
    /// As EC2 writes it.
    fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
            Protocol::Icmpv6 => "icmpv6",
            Protocol::All => ALL,
        }
    }

    /// Whether a rule admits this protocol. One for all traffic admits each.
    pub(super) fn is_admitted_by(self, rule: &SecurityGroupRule) -> bool {
        let protocol = protocol(rule);
        protocol == ALL || protocol == self.word()
    }
}

/// A rule's protocol by its name, where it has one.
fn protocol(rule: &SecurityGroupRule) -> &str {
    match rule.ip_protocol() {
        Some("6") => "tcp",
        Some("17") => "udp",
        Some("1") => "icmp",
        Some("58") => "icmpv6",
        Some(other) => other,
        None => ALL,
    }
}

/// Whether an inbound rule admits everyone, or so many that they are nobody's own.
pub(super) fn admits_everyone(rule: &SecurityGroupRule) -> bool {
    let ranges = [rule.cidr_ipv4(), rule.cidr_ipv6()];
    rule.is_egress() != Some(true) && ranges.into_iter().flatten().any(is_wide)
}

/// Whether a range, `0.0.0.0/0` say, is wider than any private network.
fn is_wide(range: &str) -> bool {
    let Some((address, prefix)) = range.split_once('/') else { return false };
    let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse::<u8>()) else { return false };
    let is_private = match address {
        IpAddr::V4(_) => false,
        // Unique local addresses are fc00::/7 (RFC 4193).
        IpAddr::V6(address) => prefix == 7 && address.octets()[0] & 0xfe == 0xfc,
    };
    prefix < NARROW && !is_private
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, from: i32, to: i32) -> SecurityGroupRule {
        SecurityGroupRule::builder().is_egress(false).ip_protocol(protocol).from_port(from).to_port(to).cidr_ipv4("0.0.0.0/0").build()
    }

    #[test]
    fn what_is_wider_than_a_private_network_is_everyone() {
        for wide in ["0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/7", "2000::/3", "::/1"] {
            assert!(is_wide(wide), "{wide}");
        }
        for narrow in ["10.0.0.0/8", "52.0.0.0/8", "203.0.113.7/32", "fc00::/7", "fd00::/8", "2600::/12", "2001:db8::/32", "", "x/0", "::"]
        {
            assert!(!is_wide(narrow), "{narrow}");
        }
        let out = SecurityGroupRule::builder().is_egress(true).ip_protocol("-1").cidr_ipv4("0.0.0.0/0").build();
        assert!(admits_everyone(&rule("tcp", 22, 22)) && !admits_everyone(&out));
    }

    #[test]
    fn a_port_is_admitted_by_the_rules_that_cover_it() {
        let admitted = |ports: &str, rule: &SecurityGroupRule| PortRange::try_from(ports).is_ok_and(|range| range.is_admitted_by(rule));
        for (ports, yes) in [("22", true), ("20-21", false), ("20-22", true), ("30-40", true), ("31-40", false), ("0-65535", true)] {
            assert_eq!(admitted(ports, &rule("tcp", 22, 30)), yes, "{ports}");
        }
        assert!(admitted("22", &rule("-1", -1, -1)) && admitted("53", &rule("17", 0, 65535)));
        // Messages of the type 8 are not at the port 8.
        assert!(!admitted("8", &rule("icmp", 8, -1)) && !admitted("50", &rule("50", -1, -1)));
    }

    #[test]
    fn a_protocol_is_admitted_by_its_own_rules_and_by_those_for_all() {
        let all = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp, Protocol::Icmpv6, Protocol::All];
        let by = |rule: &SecurityGroupRule| all.into_iter().filter(|p| p.is_admitted_by(rule)).collect::<Vec<_>>();
        assert_eq!(by(&rule("6", 22, 22)), [Protocol::Tcp]);
        assert_eq!(by(&rule("icmpv6", -1, -1)), [Protocol::Icmpv6]);
        assert_eq!(by(&rule("-1", -1, -1)), all);
        assert!(by(&rule("50", -1, -1)).is_empty());
    }

    #[test]
    fn what_is_no_port_is_told_so() {
        for wrong in ["", "-", "22-", "-22", "30-20", "65536", "+22", "ssh", "1-2-3", " 22"] {
            assert!(PortRange::try_from(wrong).is_err_and(|why| why.contains("is no port")), "{wrong}");
        }
    }
}
