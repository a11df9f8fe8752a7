//! Writes records as a worker does, for `tests/bench/results`: `write_records RECORDS FOLDER`. A tenth of them goes into
//! one part, the rest into parts of 500; each part is synced before the next begins.

use fleetscan_proto::Record;
use fleetscan_worker::sink::{RecordWriter, SinkOptions, open};
use serde_json::json;

const CELL: u64 = 500;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(records), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("write_records RECORDS FOLDER".into());
    };
    let total: u64 = records.parse()?;
    let sink = open(&folder, &SinkOptions::default())?;
    let giant = total / 10;
    let (mut begun, mut part) = (0, 0_u64);
    while begun < total {
        let size = if part == 0 { giant.max(1) } else { CELL.min(total - begun) };
        let place = format!("scan=bench/records/cell_account=a{}", 100_000_000_000 + part);
        let mut writer = RecordWriter::new(sink.clone(), place, "part-1-0000.jsonl.zst".to_owned());
        for n in begun..begun + size {
            writer.write(&record(n)?).await?;
        }
        writer.finish().await?;
        begun += size;
        part += 1;
    }
    Ok(())
}

fn record(n: u64) -> Result<Record, serde_json::Error> {
    let (account, region) = ("100000000000", "eu-west-1");
    let properties = json!({
        "Runtime": "python3.12", "Handler": "main.handler", "MemorySize": 128 + n % 8, "Timeout": 3, "CodeSize": n,
        "Role": format!("arn:aws:iam::{account}:role/app-{}", n % 50), "Environment": {"Variables": {"TOKEN": "<redacted>"}},
        "VpcConfig": {"SubnetIds": [format!("subnet-{}", n % 40), format!("subnet-{}", (n + 1) % 40)]},
    });
    serde_json::from_value(json!({
        "account": account, "region": region, "service": "lambda", "type": "AWS::Lambda::Function",
        "id": format!("function-{n}"), "arn": format!("arn:aws:lambda:{region}:{account}:function:function-{n}"),
        "name": format!("function-{n}"), "tags": {"team": "blue", "cost-centre": (n % 97).to_string()},
        "collected_at": "2026-01-01T00:00:00Z", "properties": properties,
    }))
}
