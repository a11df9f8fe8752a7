//! Lists the files of the catalogue, the profiles and the insights, so that adding a service takes a TOML file and no Rust.
use std::{env, fmt::Write as _, fs, path::Path};

fn main() {
    list("catalogue", "catalogue_files.rs");
    list("profiles", "profile_files.rs");
    list("insights", "insight_files.rs");
}

/// Writes a Rust file that has the TOML files of a folder, by name, as (name, text).
fn list(folder: &str, file: &str) {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let folder = Path::new(&root).join(folder);
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the folder can be read")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    names.sort();
    let mut list = String::from("&[\n");
    for name in names {
        let path = folder.join(&name);
        println!("cargo::rerun-if-changed={}", path.display());
        let _ = writeln!(list, "    ({name:?}, include_str!({:?})),", path.display().to_string());
    }
    list.push(']');
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join(file), list).expect("OUT_DIR can be written");
}
