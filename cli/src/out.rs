use crate::failure::Failure;
use fleetscan_proto::{Manifest, ResultPaths, ScanId, Sink, SinkError};
use std::{path::PathBuf, sync::Arc};

/// The root of results, as it was named and as it is opened.
pub struct Out {
    /// An absolute path or a URL, the same from whatever folder the command is run.
    pub name: String,
    pub sink: Arc<dyn Sink>,
    /// The folder, where it is one of this machine.
    folder: Option<PathBuf>,
}

impl Out {
    /// Opens a place to write to; a folder that is not there is made.
    pub fn open(text: &str) -> Result<Self, Failure> {
        Self::opened(text, fleetscan_worker::sink::open)
    }

    /// Opens results to read them; nothing is made.
    pub fn open_existing(text: &str) -> Result<Self, Failure> {
        let path = text.strip_prefix("file://").unwrap_or(text);
        if !path.contains("://") && !std::path::Path::new(path).exists() {
            return Err(Failure::usage(format!(
                "there are no results in {path}: name their place with --out, or run `fleetscan demo` or `fleetscan scan`"
            )));
        }
        Self::opened(text, fleetscan_worker::sink::open_to_read)
    }

    fn opened(text: &str, open: impl Fn(&str) -> Result<Arc<dyn Sink>, SinkError>) -> Result<Self, Failure> {
        let is_url = text.contains("://");
        let url = match is_url || text.is_empty() {
            true => text.to_owned(),
            false => {
                std::path::absolute(text).map_err(|e| Failure::usage(format!("{text}: {e}")))?.display().to_string()
            }
        };
        let sink = open(&url).map_err(Failure::usage)?;
        // One name for one place, whether it was given as a path or as a URL.
        let name = sink.locate("").trim_end_matches('/').to_owned();
        let folder = (!name.contains("://")).then(|| PathBuf::from(&name));
        Ok(Self { name, sink, folder })
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
        let path = ResultPaths(&id).manifest();
        let bytes = self.sink.read(&path).await.map_err(|_| self.unfinished(&id))?;
        serde_json::from_slice(&bytes).map_err(|e| Failure::failed(format!("{}: {e}", self.sink.locate(&path))))
    }

    fn named(&self, text: &str, ids: &[ScanId]) -> Result<ScanId, Failure> {
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
            if self.sink.read(&ResultPaths(id).manifest()).await.is_ok() {
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
    async fn scans(&self) -> Result<Vec<ScanId>, Failure> {
        let names: Vec<String> = match &self.folder {
            // Listing a folder of this machine need not walk all the files below it.
            Some(folder) => match std::fs::read_dir(folder) {
                Ok(entries) => entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect(),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(Failure::failed(format!("{}: {error}", self.name))),
            },
            None => self.sink.list("").await?,
        };
        let first = |path: &String| path.split('/').next().and_then(|f| f.strip_prefix("scan=")?.parse().ok());
        let mut ids: Vec<ScanId> = names.iter().filter_map(first).collect();
        ids.sort();
        ids.dedup();
        ids.reverse();
        Ok(ids)
    }
}
