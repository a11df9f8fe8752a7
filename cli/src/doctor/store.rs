//! The fleet's store: does it answer, does it keep what it acknowledges, do our keys open its grants?

use crate::{
    args::{DoctorArgs, StoreArgs},
    backing::{self, Memory},
    failure::Failure,
    numbers::many,
};
use fleetscan_backends::redis::ServerFacts;
use jiff::Timestamp;

/// Clocks that are further apart are worth mending, in seconds.
const CLOCKS_APART: f64 = 30.0;

/// Does it answer, what does it know, do our keys open its grants, and do the clocks agree?
pub async fn standing(args: &DoctorArgs, memory: &Memory) -> Result<String, Failure> {
    let store_time = memory.fleet.now().await?;
    let apart = Timestamp::now().duration_since(store_time).as_secs_f64().abs();
    if apart > CLOCKS_APART {
        return Err(Failure::failed(format!(
            "this machine's clock and the store's are {apart:.0} s apart: set both by NTP (AWS refuses calls at 300 s)"
        )));
    }
    let some = memory.registry.registered_accounts(None, 64).await?;
    let sealed = some.iter().find_map(|account| Some((account, account.grant.as_ref()?)));
    let keys = match sealed {
        None => "no account is connected yet".to_owned(),
        Some((account, grant)) => {
            let keys = backing::keys(&args.key)?;
            keys.open(&account.id, grant).map_err(Failure::failed)?;
            format!("key {} opens its grants", keys.sealing_key())
        }
    };
    let workers = memory.fleet.workers().await?.len() as u64;
    let leads = memory.fleet.leases("coordinator").await?.into_iter().next();
    let leads = leads.map_or("no coordinator leads".to_owned(), |lease| format!("{} leads", lease.holder));
    Ok(format!("it answers; {keys}; {leads}; {}", many(workers, "worker")))
}

/// Whether the server keeps what it acknowledges.
pub async fn durability(args: &StoreArgs) -> Result<String, Failure> {
    let facts = backing::redis(args, false).await?.server_facts().await?;
    let wrong = shortcomings(&facts);
    if !wrong.is_empty() {
        return Err(Failure::failed(wrong.join(" ")));
    }
    let synced = match facts.syncs {
        Some(_) => "synced before it answers",
        None => "though it does not say when that is synced: see docs/redis.md",
    };
    Ok(format!("Redis {} appends every change, {synced}, and drops nothing", facts.version))
}

/// Why there is no store, and what mends that.
pub fn advised(failure: &Failure) -> Failure {
    let words = failure.message();
    let certificate = super::certificate_advice(words, "FLEETSCAN_STORE_CA");
    let advice = match words {
        _ if words.contains("invalid peer certificate") => certificate.as_str(),
        _ if words.contains("user or password") => {
            "Check the user in FLEETSCAN_STORE, and its password there or in FLEETSCAN_STORE_PASSWORD_FILE."
        }
        _ if words.contains("lacks permissions") => {
            "Let it use `~{fleetscan:*` with `+@all -@dangerous +info`: see docs/redis.md."
        }
        _ if words.contains("is away") || words.contains("cannot be reached") => {
            "Check the host, port and network, and that FLEETSCAN_STORE says rediss:// where the server speaks TLS and \
             redis:// where it does not."
        }
        _ => return Failure::failed(words),
    };
    Failure::failed(format!("{}. {advice}", words.trim_end_matches('.')))
}

/// What is to be mended, a sentence or two each.
fn shortcomings(facts: &ServerFacts) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut mend = |is_wrong: bool, text: String| {
        if is_wrong {
            wrong.push(text);
        }
    };
    mend(
        facts.is_replica,
        "This Redis is a replica, and takes no changes: name its primary in FLEETSCAN_STORE.".to_owned(),
    );
    mend(!facts.appends, "`appendonly` is off: a restart loses accounts and grants. Set `appendonly yes`.".to_owned());
    if let Some(syncs) = facts.syncs.as_deref().filter(|_| facts.appends) {
        mend(
            syncs != "always",
            format!(
                "`appendfsync` is {syncs}: a host that loses power loses what it acknowledged last, a disconnected \
                 account's erasure among it. Set `appendfsync always`."
            ),
        );
    }
    mend(
        !facts.append_works,
        "The last write to the append-only file failed: its disk is full or broken, and Redis takes no changes until \
         it is mended."
            .to_owned(),
    );
    mend(
        facts.policy != "noeviction",
        format!(
            "`maxmemory-policy` is {}: with its memory full, Redis would drop accounts and ledgers. Set \
             `maxmemory-policy noeviction`.",
            facts.policy
        ),
    );
    mend(
        facts.most > 0 && facts.used.saturating_mul(10) > facts.most.saturating_mul(9),
        "Its memory is nearly full (over nine tenths of `maxmemory`): raise it, or scans will stand still.".to_owned(),
    );
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shortcoming_is_told() {
        let well = ServerFacts {
            version: "7.0.15".into(),
            appends: true,
            syncs: Some("always".into()),
            append_works: true,
            policy: "noeviction".into(),
            used: 10,
            most: 0,
            is_replica: false,
        };
        assert!(shortcomings(&well).is_empty());
        assert!(shortcomings(&ServerFacts { syncs: None, ..well.clone() }).is_empty(), "managed servers do not tell");
        let told = |facts: ServerFacts| shortcomings(&facts).join(" ");
        assert!(told(ServerFacts { is_replica: true, ..well.clone() }).contains("is a replica"));
        assert!(told(ServerFacts { append_works: false, ..well.clone() }).contains("disk is full"));
        assert!(told(ServerFacts { used: 95, most: 100, ..well }).contains("nearly full"));
    }
}
