use redis::Cmd;
use std::sync::LazyLock;

/// A script: its text, and the name by which a server knows it once it has run it.
pub(super) struct Script {
    pub(super) code: &'static str,
    pub(super) hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }

    /// Its call, by its whole text or by its name.
    pub(super) fn call(&self, whole: bool, keys: &[impl AsRef<str>], arguments: &[impl AsRef<[u8]>]) -> Cmd {
        let (how, script) = if whole { ("EVAL", self.code) } else { ("EVALSHA", self.hash.as_str()) };
        let texts = keys.iter().map(|key| key.as_ref().len()).chain(arguments.iter().map(|own| own.as_ref().len()));
        let size = how.len() + script.len() + texts.sum::<usize>();
        let mut call = Cmd::with_capacity(3 + keys.len() + arguments.len(), size);
        call.arg(how).arg(script).arg(keys.len());
        for key in keys {
            call.arg(key.as_ref());
        }
        for own in arguments {
            call.arg(own.as_ref());
        }
        call
    }
}

macro_rules! scripts {
    ($($name:ident: $file:literal;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(include_str!(concat!("scripts/", $file))));)*
    };
}

scripts! {
    CREATE_SCAN: "create_scan.lua";
    END_SCAN: "end_scan.lua";
    PROBE: "probe.lua";
    RENEW_PROBE: "renew_probe.lua";
    REOPEN_PROBE: "reopen_probe.lua";
    PLAN: "plan.lua";
    BEGIN: "begin.lua";
    CHECKPOINT: "checkpoint.lua";
    RENEW_CELL: "renew_cell.lua";
    COMPLETE: "complete.lua";
    AMEND: "amend.lua";
    REOPEN_ACCOUNT: "reopen_account.lua";
    REOPEN_CELL: "reopen_cell.lua";
    REPLACE_LINE: "replace_line.lua";
    HASTEN: "hasten.lua";
    TAKE_HASTENED: "take_hastened.lua";
    COUNT_ASSUMED: "count_assumed.lua";
    STATUS: "status.lua";
    OWE: "owe.lua";
    SETTLE_DEBTS: "settle_debts.lua";
    APPEND_EVENT: "append_event.lua";
    NOTE_ACT: "note_act.lua";
    TAKE_LEASE: "take_lease.lua";
    RENEW_LEASE: "renew_lease.lua";
    REPORTS: "reports.lua";
    TAKE_SHARED: "take_shared.lua";
    KEEP_ACTIVITY: "keep_activity.lua";
    PUT_REGISTERED: "put_registered.lua";
    RESTORE_REGISTERED: "restore_registered.lua";
}
