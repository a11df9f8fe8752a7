use crate::{Config, Control, Counters, Expectations, Tls, engine::Engine, server};
use std::{fmt::Write as _, net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// A simulated AWS that listens.
#[derive(Debug)]
pub struct Simulator {
    engine: Arc<Engine>,
    control: Control,
    expectations: Arc<Expectations>,
    address: SocketAddr,
    scheme: &'static str,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
}

impl Simulator {
    /// Begins to answer on `listener`. Fails where a catalogue or fixture file is wrong; the error says which.
    pub async fn start(config: Config, listener: TcpListener) -> anyhow::Result<Simulator> {
        let address = listener.local_addr()?;
        let tls = config.tls.as_ref().map(Tls::acceptor).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let engine = Arc::new(Engine::new(config)?);
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(server::serve(Arc::clone(&engine), listener, tls, stopped));
        Ok(Simulator {
            control: Control::new(Arc::clone(&engine)),
            expectations: Arc::new(Expectations::new(Arc::clone(&engine))),
            engine,
            address,
            scheme,
            stop,
            server,
        })
    }

    /// What to set `AWS_ENDPOINT_URL` to.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
    /// The accounts file that scans it.
    pub fn accounts_toml(&self) -> String {
        accounts_toml(&self.engine)
    }
    /// Access key id and secret of the hub.
    pub fn hub_credentials(&self) -> (String, String) {
        self.engine.hub_credentials()
    }
    /// What a correct scan must find.
    pub fn expectations(&self) -> &Arc<Expectations> {
        &self.expectations
    }
    /// What was asked so far.
    pub fn counters(&self) -> Counters {
        self.control.counters()
    }
    /// A hand on it.
    pub fn control(&self) -> &Control {
        &self.control
    }
    /// Stops listening and cuts what is open.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = (&mut self.server).await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn accounts_toml(engine: &Engine) -> String {
    let world = &engine.world;
    let mut text = String::from("# The accounts of a simulated AWS.\n");
    for account in world.accounts() {
        let _ = write!(
            text,
            "\n[[account]]\nid = \"{}\"\nrole_arn = \"{}\"\nexternal_id = \"{}\"\nname = \"{}\"\ncustomer = \"{}\"\n",
            world.id(account),
            world.role_arn(account),
            world.external_id(account, 0),
            world.name(account),
            world.customer(account),
        );
    }
    text
}
