//! What an organisation says of accounts, against what is registered: what is to be added, and what is to be marked.

use fleetscan_proto::{AccountId, Member, MemberStanding, Membership, Organisation, RegisteredAccount};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a synchronisation would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Members that are to be connected.
    pub added: BTreeMap<AccountId, (Member, Membership)>,
    /// Connected accounts whose membership differs from what is known of it, and what it was.
    pub changed: BTreeMap<AccountId, (Option<Membership>, Membership)>,
    /// Connected accounts that are as they were.
    pub unchanged: u64,
    /// Members that are left alone, and why.
    pub skipped: BTreeMap<AccountId, &'static str>,
}

/// Holds an organisation against the registry. Of an organisation that was not read whole nothing is marked: an account
/// that is missing there may only have been on a page that was not read. `below`: only members in this unit are added.
pub fn difference(
    organisation: &Organisation,
    registered: &[RegisteredAccount],
    below: Option<&str>,
    now: Timestamp,
) -> Difference {
    let known: BTreeMap<&AccountId, &RegisteredAccount> = registered.iter().map(|one| (&one.id, one)).collect();
    let whole = organisation.gaps.is_empty();
    let mut found = Difference::default();
    for (id, member) in &organisation.members {
        let membership = Membership {
            organisation: organisation.id.clone(),
            path: member.path.clone(),
            standing: member.standing,
            policies: member.policies.iter().cloned().collect(),
            since: now,
        };
        match known.get(id) {
            Some(account) if account.grant.is_none() => {
                found.skipped.insert(id.clone(), "it was disconnected here; `accounts add` connects it again");
            }
            Some(account) if whole => found.compare(account, membership),
            Some(_) => found.unchanged += 1,
            None => match why_not(organisation, id, member, below) {
                Some(why) => drop(found.skipped.insert(id.clone(), why)),
                None => drop(found.added.insert(id.clone(), (member.clone(), membership))),
            },
        }
    }
    if whole {
        for (account, before) in missing(organisation, registered) {
            found.compare(account, Membership { standing: MemberStanding::Left, since: now, ..before.clone() });
        }
    }
    found
}

/// Connected accounts that are known to belong to an organisation and are not among its members.
fn missing<'a>(
    organisation: &'a Organisation,
    registered: &'a [RegisteredAccount],
) -> impl Iterator<Item = (&'a RegisteredAccount, &'a Membership)> {
    let is_missing = |(account, before): &(&RegisteredAccount, &Membership)| {
        before.organisation == organisation.id && !organisation.members.contains_key(&account.id)
    };
    let connected = registered.iter().filter(|account| account.grant.is_some());
    connected.filter_map(|account| Some((account, account.organisation.as_ref()?))).filter(is_missing)
}

/// Whether a look at an organisation must be followed by another before anybody is held to have left: an account that
/// was moved meanwhile, out of a unit that was still to be read into one that had been, was seen in neither.
pub fn wants_another_look(organisation: &Organisation, registered: &[RegisteredAccount]) -> bool {
    let newly = |(_, before): (&RegisteredAccount, &Membership)| before.standing != MemberStanding::Left;
    organisation.gaps.is_empty() && missing(organisation, registered).any(newly)
}

/// Two looks at one organisation as one: whoever was seen in either is a member, as it was seen last.
pub fn seen_in_either(first: Organisation, second: Organisation) -> Organisation {
    let mut members = first.members;
    members.extend(second.members);
    Organisation { members, gaps: first.gaps.into_iter().chain(second.gaps).collect(), ..second }
}

impl Difference {
    fn compare(&mut self, account: &RegisteredAccount, now: Membership) {
        let before = account.organisation.clone();
        // The time is that of the last change.
        let same = |before: &Membership| Membership { since: now.since, ..before.clone() } == now;
        if before.as_ref().is_some_and(same) {
            self.unchanged += 1;
        } else {
            self.changed.insert(account.id.clone(), (before, now));
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty()
    }
}

/// Why a member is not connected.
fn why_not(organisation: &Organisation, id: &AccountId, member: &Member, below: Option<&str>) -> Option<&'static str> {
    let is_below = |unit: &str| {
        let unit = unit.trim_end_matches('/');
        member.path == unit || member.path.starts_with(&format!("{unit}/"))
    };
    if organisation.management.as_ref() == Some(id) {
        return Some("it is the management account, which StackSets do not reach; `accounts add` connects it");
    }
    if member.standing != MemberStanding::Active {
        return Some(match member.standing {
            MemberStanding::Closed | MemberStanding::Closing => "it is closed",
            MemberStanding::Pending => "it is not active yet",
            _ => "it is suspended",
        });
    }
    match below {
        Some(unit) if !is_below(unit) => Some("it is in another unit"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::SealedGrant;

    fn id(n: usize) -> AccountId {
        format!("{:012}", 111_100_000_000 + n).parse().expect("an id")
    }
    fn member(standing: MemberStanding, path: &str) -> Member {
        Member { name: "a".into(), standing, path: path.into(), policies: ["FullAWSAccess".into()].into() }
    }
    fn organisation(members: &[(usize, MemberStanding, &str)], gaps: &[&str]) -> Organisation {
        Organisation {
            id: "o-1".into(),
            management: Some(id(0)),
            members: members.iter().map(|(n, standing, path)| (id(*n), member(*standing, path))).collect(),
            gaps: gaps.iter().map(|gap| (*gap).to_owned()).collect(),
        }
    }
    fn registered(n: usize, membership: Option<(&str, MemberStanding)>) -> RegisteredAccount {
        RegisteredAccount {
            id: id(n),
            name: None,
            customer: None,
            regions: Vec::new(),
            profile: "full".into(),
            catalogue: "c".into(),
            told: None,
            cloudtrail_bucket: None,
            no_session_policy: false,
            organisation: membership.map(|(organisation, standing)| Membership {
                organisation: organisation.into(),
                path: "/".into(),
                standing,
                policies: vec!["FullAWSAccess".into()],
                since: Timestamp::UNIX_EPOCH,
            }),
            added_at: Timestamp::UNIX_EPOCH,
            grant: Some(SealedGrant { key: "k".into(), sealed: "s".into() }),
            removed_at: None,
            version: 1,
        }
    }
    fn now() -> Timestamp {
        Timestamp::from_second(9).expect("time")
    }

    #[test]
    fn new_members_are_added_and_what_changed_is_marked() {
        use MemberStanding::{Active, Closed, Left, Suspended};
        let organisation = organisation(
            &[
                (0, Active, "/"),
                (1, Active, "/W/P"),
                (2, Suspended, "/"),
                (3, Active, "/"),
                (4, Suspended, "/"),
                (5, Closed, "/"),
                (6, Active, "/Wide"),
            ],
            &[],
        );
        let registry = [
            registered(3, Some(("o-1", Active))),
            registered(4, Some(("o-1", Active))),
            registered(8, Some(("o-1", Active))),
            registered(9, Some(("o-2", Active))),
            registered(10, None),
        ];
        let found = difference(&organisation, &registry, Some("/W"), now());
        assert_eq!(found.added.keys().collect::<Vec<_>>(), [&id(1)], "the unit /Wide is not below /W");
        let changed: Vec<_> = found.changed.iter().map(|(id, (_, after))| (id.clone(), after.standing)).collect();
        assert_eq!(changed, [(id(4), Suspended), (id(8), Left)]);
        assert_eq!(found.unchanged, 1);
        assert_eq!(found.skipped.keys().collect::<Vec<_>>(), [&id(0), &id(2), &id(5), &id(6)]);
        assert_eq!(found.skipped[&id(5)], "it is closed");
    }

    #[test]
    fn of_an_organisation_that_was_not_read_whole_nothing_is_marked() {
        use MemberStanding::{Active, Suspended};
        let organisation = organisation(&[(1, Active, "/"), (4, Suspended, "/")], &["a page"]);
        let registry = [registered(4, Some(("o-1", Active))), registered(8, Some(("o-1", Active)))];
        let found = difference(&organisation, &registry, None, now());
        assert_eq!((found.added.len(), found.changed.len(), found.unchanged), (1, 0, 1));
    }

    #[test]
    fn an_account_that_was_moved_between_two_looks_has_not_left() {
        use MemberStanding::{Active, Left};
        let registry = [registered(4, Some(("o-1", Active))), registered(8, Some(("o-1", Active)))];
        let first = organisation(&[(1, Active, "/"), (4, Active, "/")], &[]);
        assert!(wants_another_look(&first, &registry));
        let second = organisation(&[(1, Active, "/"), (8, Active, "/Moved")], &[]);
        let both = seen_in_either(first.clone(), second);
        assert_eq!(both.members[&id(8)].path, "/Moved");
        let found = difference(&both, &registry, None, now());
        let standings: Vec<_> = found.changed.values().map(|(_, after)| after.standing).collect();
        assert_eq!(standings, [Active], "only the path of the moved one differs");
        let gone = seen_in_either(first.clone(), first.clone());
        assert_eq!(difference(&gone, &registry, None, now()).changed[&id(8)].1.standing, Left);
        let part = seen_in_either(first.clone(), organisation(&[(4, Active, "/")], &["a page"]));
        assert!(difference(&part, &registry, None, now()).changed.is_empty(), "a second look with gaps marks nobody");
        let known_to_have_left = [registered(8, Some(("o-1", Left))), registered(9, Some(("o-2", Active)))];
        assert!(!wants_another_look(&first, &known_to_have_left));
    }

    #[test]
    fn what_was_disconnected_stays_so() {
        let organisation = organisation(&[(1, MemberStanding::Active, "/")], &[]);
        let gone = RegisteredAccount { grant: None, ..registered(1, None) };
        let found = difference(&organisation, &[gone], None, now());
        assert!(found.is_empty() && found.skipped.contains_key(&id(1)));
    }
}
