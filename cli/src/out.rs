use crate::{args::OutArgs, failure::Failure, hub::network_of_environment};
use fleetscan_coordinator::read_manifest;
use fleetscan_proto::{Manifest, ResultPaths, ScanId, Sink, SinkError};
use fleetscan_worker::{Network, sink::SinkOptions};
use std::sync::Arc;

/// The root of results, as it was named and as it is opened.
pub struct Out {
    /// An absolute path or a URL, the same from whatever folder the command is run.
    pub name: String,
    pub sink: Arc<dyn Sink>,
}

impl Out {
    /// Opens a place to write to; a folder that is not there is made.
    pub fn open(args: &OutArgs) -> Result<Self, Failure> {
        Self::opened(args, network_of_environment()?, fleetscan_worker::sink::open)
    }

    /// The same, for a command that has flags for the way to AWS.
    pub fn open_through(args: &OutArgs, network: Network) -> Result<Self, Failure> {
        Self::opened(args, network, fleetscan_worker::sink::open)
    }

    /// Opens results to read them; nothing is made.
    pub fn open_existing(args: &OutArgs) -> Result<Self, Failure> {
        let text = args.out.as_str();
        let path = text.strip_prefix("file://").unwrap_or(text);
        if !path.contains("://") && !std::path::Path::new(path).exists() {
            return Err(Failure::usage(format!(
                "there are no results in {path}: name their place with --out, or run `fleetscan demo` or `fleetscan scan`"
            )));
        }
        Self::opened(args, network_of_environment()?, fleetscan_worker::sink::open_to_read)
    }

    fn opened(
        args: &OutArgs,
        network: Network,
        open: impl Fn(&str, &SinkOptions) -> Result<Arc<dyn Sink>, SinkError>,
    ) -> Result<Self, Failure> {
        let text = args.out.as_str();
        let is_url = text.contains("://");
        let url = match is_url || text.is_empty() {
            true => text.to_owned(),
            false => {
                std::path::absolute(text).map_err(|e| Failure::usage(format!("{text}: {e}")))?.display().to_string()
            }
        };
        let sink = open(&url, &args.s3.options(network)).map_err(Failure::usage)?;
        // One name for one place, whether it was given as a path or as a URL.
        let name = sink.locate("").trim_end_matches('/').to_owned();
        Ok(Self { name, sink })
    }

    /// Writes a file and removes it, so that a scan does not begin what it could not keep.
    pub async fn check_writable(&self) -> Result<(), Failure> {
        let path = format!(".fleetscan-check-{}", std::process::id());
        let check = async {
            let mut file = self.sink.create(&path).await?;
            file.write(b"fleetscan can write here\n".to_vec()).await?;
            file.commit().await?;
            self.sink.remove(&path).await
        };
        check.await.map_err(|e| Failure::failed(format!("the results cannot be written to {}: {e}", self.name)))
    }

    /// The manifest of the named scan, or of the newest finished one.
    pub async fn manifest(&self, scan: Option<&str>) -> Result<Manifest, Failure> {
        let ids = self.scans().await?;
        let id = match scan {
            Some(text) => self.named(text, &ids)?,
            None => self.newest(&ids).await?,
        };
        match self.find_manifest(&id).await? {
            Some(manifest) => Ok(manifest),
            None if self.sink.read(&ResultPaths(&id).next_manifest()).await.is_ok() => Err(Failure::failed(format!(
                "the files of scan {id} are being pruned or purged: try again in a minute; if that was interrupted, the \
                 next scan ends it, or the same `results purge` again"
            ))),
            None => Err(self.unfinished(&id)),
        }
    }

    /// The manifest of a scan, where it has one: it is the last file that a scan writes.
    pub async fn find_manifest(&self, id: &ScanId) -> Result<Option<Manifest>, Failure> {
        Ok(read_manifest(self.sink.as_ref(), id).await?)
    }

    pub fn named(&self, text: &str, ids: &[ScanId]) -> Result<ScanId, Failure> {
        let text = text.strip_prefix("scan=").unwrap_or(text);
        let id: ScanId = text.parse().map_err(Failure::usage)?;
        if ids.contains(&id) {
            return Ok(id);
        }
        let newest: Vec<&str> = ids.iter().take(3).map(ScanId::as_str).collect();
        let there = if newest.is_empty() {
            "there are none".to_owned()
        } else {
            format!("the newest are {}", newest.join(", "))
        };
        Err(Failure::usage(format!("there is no scan {id} in {}: {there}", self.name)))
    }

    async fn newest(&self, ids: &[ScanId]) -> Result<ScanId, Failure> {
        for id in ids {
            if self.find_manifest(id).await?.is_some() {
                return Ok(id.clone());
            }
        }
        Err(match ids.first() {
            Some(id) => self.unfinished(id),
            None => Failure::usage(format!(
                "there are no results in {}: name their place with --out, or run `fleetscan demo` or `fleetscan scan`",
                self.name
            )),
        })
    }

    fn unfinished(&self, id: &ScanId) -> Failure {
        Failure::failed(format!("the scan {id} is not finished: run the command that began it again, and it goes on"))
    }

    /// All scans that have files here, newest first.
    pub async fn scans(&self) -> Result<Vec<ScanId>, Failure> {
        let folders = self.sink.folders().await?;
        let mut ids: Vec<ScanId> =
            folders.iter().filter_map(|folder| folder.strip_prefix("scan=")?.parse().ok()).collect();
        ids.sort();
        ids.reverse();
        Ok(ids)
    }
}
