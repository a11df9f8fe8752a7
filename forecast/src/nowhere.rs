use async_trait::async_trait;
use fleetscan_proto::{ObjectWriter, Sink, SinkError, Stored};

/// A place for results that keeps none.
pub(crate) struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn entries(&self, _folder: &str) -> Result<Vec<Stored>, SinkError> {
        Ok(Vec::new())
    }

    async fn folders(&self) -> Result<Vec<String>, SinkError> {
        Ok(Vec::new())
    }

    async fn create(&self, _path: &str) -> Result<Box<dyn ObjectWriter>, SinkError> {
        Ok(Box::new(Nowhere))
    }
    async fn read(&self, path: &str) -> Result<Vec<u8>, SinkError> {
        Err(SinkError::Refused(format!("{path}: nothing is kept here")))
    }
    async fn remove(&self, _path: &str) -> Result<(), SinkError> {
        Ok(())
    }
    async fn sweep(&self, _folder: &str) -> Result<(), SinkError> {
        Ok(())
    }
    fn locate(&self, path: &str) -> String {
        format!("nowhere/{path}")
    }
}

#[async_trait]
impl ObjectWriter for Nowhere {
    async fn write(&mut self, _bytes: Vec<u8>) -> Result<(), SinkError> {
        Ok(())
    }
    async fn commit(self: Box<Self>) -> Result<(), SinkError> {
        Ok(())
    }
}
