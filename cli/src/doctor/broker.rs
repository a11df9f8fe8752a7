//! The fleet's broker: does it let us in, are its queues ours, and does it take messages?

use crate::{
    args::BrokerArgs,
    backing,
    failure::Failure,
    numbers::{grouped, many},
};
use fleetscan_proto::TaskQueue as _;

pub async fn standing(args: &BrokerArgs) -> Result<String, Failure> {
    let queue = backing::queue(args, "fleetscan-doctor").await.map_err(|failure| advised(&failure))?;
    let depth = queue.depth().await.map_err(Failure::failed)?;
    queue.takes_messages().await.map_err(|error| advised(&Failure::failed(error)))?;
    Ok(format!(
        "it answers; {} ready, {} put off, {}",
        many(depth.ready, "task"),
        grouped(depth.delayed),
        many(depth.dead, "dead letter")
    ))
}

/// The broker's words, and what mends what they say.
fn advised(failure: &Failure) -> Failure {
    let words = failure.message();
    let certificate = super::certificate_advice(words, "FLEETSCAN_BROKER_CA");
    let advice = match words {
        _ if words.contains("invalid peer certificate") => certificate.as_str(),
        // The login itself, before any queue or virtual host.
        _ if words.contains("Login was refused") || words.contains("login refused") => {
            "Check the user and its password (FLEETSCAN_BROKER, FLEETSCAN_BROKER_PASSWORD_FILE)."
        }
        _ if words.contains("vhost") && (words.contains("access to vhost") || words.contains("not found")) => {
            "Check the virtual host at the end of FLEETSCAN_BROKER: it must exist (`rabbitmqctl add_vhost`), and the \
             user must have permissions in it (`rabbitmqctl set_permissions`)."
        }
        _ if words.contains("refused") && words.contains("access to") => {
            "The user needs configure, write and read on the fleet's own names: `rabbitmqctl set_permissions -p VHOST \
             USER '^fleetscan\\..*' '^fleetscan\\..*' '^fleetscan\\..*'`."
        }
        _ if words.contains("alarm") => {
            "See `rabbitmq-diagnostics alarms`: give it memory or disk, or let it work off what it holds."
        }
        _ if words.contains("is away") => {
            "Check the host, port and network, and that FLEETSCAN_BROKER says amqps:// where the broker speaks TLS and \
             amqp:// where it does not."
        }
        _ => return Failure::failed(words),
    };
    Failure::failed(format!("{}. {advice}", words.trim_end_matches('.')))
}
