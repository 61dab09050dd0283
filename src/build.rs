//! Takes the JavaScript client bundle, which the node serves at `<path>/socket.io.js`, from the npm package `socket.io-client`.
//!
//! The package is pinned by version and by the hash of its tarball, is fetched once with `npm pack` (one attempt, bounded in time) and
//! then kept, verified, in Cargo's target directory: third-party files are never committed, and a rebuild fetches nothing.
//! `FANFARE_CLIENT_DIST` names a directory to use instead. A build never fails for want of the bundle: it warns, and the generated
//! `client_bundle.rs` carries the reason, which the node answers with 404.

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::read::GzDecoder;
use ring::digest;

const PACKAGE: &str = "socket.io-client";
const VERSION: &str = "4.8.4";
/// What the registry publishes as the tarball's `integrity`: base64 of SHA-512.
const INTEGRITY: &str = "7wjKAvVXYOJsbmUgkWbnhPD4bFpkqrUR0++XOjpGFmqDqsqV1CI93VTraeExLxpjxEqrWgFoSRZu1ihjLWfkAA==";
const PATIENCE: Duration = Duration::from_secs(60);
/// Each is served together with its source map.
const SCRIPTS: [&str; 4] = [
    "socket.io.js",
    "socket.io.min.js",
    "socket.io.esm.min.js",
    "socket.io.msgpack.min.js",
];

/// The bundle's files, and the version that they are of.
struct Bundle {
    version: String,
    files: Vec<(String, Vec<u8>)>,
}

/// Why there is no bundle: one line, for the build's warning and for the answer of the route.
type Absence = String;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src/build.rs");
    for name in ["FANFARE_CLIENT_DIST", "CARGO_NET_OFFLINE"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("Cargo sets OUT_DIR"))?);
    match bundle(&out) {
        Ok(bundle) => write_bundle(&out, &bundle),
        Err(reason) => {
            println!("cargo::warning=the JavaScript client is not embedded: {reason}");
            write_absence(&out, &reason)
        }
    }
}

fn bundle(out: &Path) -> Result<Bundle, Absence> {
    if env::var_os("CARGO_FEATURE_CLIENT").is_none() {
        return Err("built without the feature `client`".into());
    }
    match env::var_os("FANFARE_CLIENT_DIST").filter(|directory| !directory.is_empty()) {
        Some(directory) => from_directory(Path::new(&directory)),
        None => from_npm(out),
    }
}

fn from_directory(directory: &Path) -> Result<Bundle, Absence> {
    println!("cargo::rerun-if-changed={}", directory.display());
    let files: Vec<_> = names()
        .filter_map(|name| fs::read(directory.join(&name)).ok().map(|content| (name, content)))
        .collect();
    let Some((_, script)) = files.iter().find(|(name, _)| name == "socket.io.js") else {
        return Err("the directory that FANFARE_CLIENT_DIST names holds no socket.io.js".into());
    };
    let version = banner_version(script).unwrap_or_else(|| "unknown".into());
    Ok(Bundle { version, files })
}

/// The version in the comment that every build of the client opens with.
fn banner_version(script: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(script.get(..200)?).into_owned();
    let version = head.split_once("Socket.IO v")?.1;
    Some(
        version
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
            .collect(),
    )
}

fn from_npm(out: &Path) -> Result<Bundle, Absence> {
    let kept = target_directory(out).join(format!("client/{PACKAGE}-{VERSION}.tgz"));
    if let Ok(tarball) = fs::read(&kept)
        && verified(&tarball)
    {
        return unpack(&tarball);
    }
    let (fetched, tarball) = fetch_verified(out).inspect_err(|_| {
        // A file that is not there counts as changed: the next build tries again.
        println!("cargo::rerun-if-changed={}", kept.display());
    })?;
    if let Some(parent) = kept.parent() {
        // Not being able to keep it costs the next build a fetch, no more. The rename keeps builds that run at once apart.
        drop(fs::create_dir_all(parent).and_then(|()| fs::rename(&fetched, &kept)));
    }
    unpack(&tarball)
}

/// The tarball as npm left it, and what is in it.
fn fetch_verified(out: &Path) -> Result<(PathBuf, Vec<u8>), Absence> {
    if env::var_os("CARGO_NET_OFFLINE").is_some_and(|value| !value.is_empty() && value != "false" && value != "0") {
        return Err("CARGO_NET_OFFLINE is set, and no earlier build has fetched it".into());
    }
    let fetched = fetch(out)?;
    let tarball = fs::read(&fetched).map_err(|error| format!("npm pack left no tarball: {error}"))?;
    if !verified(&tarball) {
        return Err(format!("the tarball of {PACKAGE} {VERSION} does not have the expected hash"));
    }
    Ok((fetched, tarball))
}

/// The root of Cargo's target directory, which outlives `OUT_DIR`; Cargo marks it with a `CACHEDIR.TAG`.
fn target_directory(out: &Path) -> &Path {
    out.ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").exists())
        .unwrap_or(out)
}

fn verified(tarball: &[u8]) -> bool {
    BASE64_STANDARD.encode(digest::digest(&digest::SHA512, tarball)) == INTEGRITY
}

/// Runs `npm pack` in `out`, once, and ends it after [`PATIENCE`].
fn fetch(out: &Path) -> Result<PathBuf, Absence> {
    let mut npm = Command::new("npm")
        .args([
            "pack",
            &format!("{PACKAGE}@{VERSION}"),
            "--ignore-scripts",
            "--fetch-retries=0",
            "--loglevel=error",
        ])
        .current_dir(out)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("npm cannot be run: {error}"))?;
    let (complaints, complained) = mpsc::sync_channel(1);
    if let Some(mut stderr) = npm.stderr.take() {
        thread::spawn(move || {
            let mut text = String::new();
            // Read to its end, or the child would block on a full pipe; what is no text is no loss.
            let _ended = stderr.read_to_string(&mut text);
            let _waiting = complaints.send(text);
        });
    }
    // The child's end of the pipe closes when it exits: the one wait of the standard library that can be bounded.
    let ended = complained.recv_timeout(PATIENCE);
    if ended.is_err() {
        drop(npm.kill());
    }
    let status = npm.wait().map_err(|error| format!("npm cannot be waited for: {error}"))?;
    match ended {
        Ok(_) if status.success() => Ok(out.join(format!("{PACKAGE}-{VERSION}.tgz"))),
        Ok(text) => Err(format!("npm pack failed ({status}): {}", text.lines().next().unwrap_or_default())),
        Err(_) => Err(format!("npm pack did not end within {} s", PATIENCE.as_secs())),
    }
}

fn unpack(tarball: &[u8]) -> Result<Bundle, Absence> {
    let broken = |error: io::Error| format!("the tarball cannot be read: {error}");
    let mut files = Vec::new();
    for entry in tar::Archive::new(GzDecoder::new(tarball)).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let name = names().find(|name| path == Path::new("package/dist").join(name));
        if let Some(name) = name {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(broken)?;
            files.push((name, content));
        }
    }
    Ok(Bundle {
        version: VERSION.into(),
        files,
    })
}

fn names() -> impl Iterator<Item = String> {
    SCRIPTS.into_iter().flat_map(|script| [script.to_owned(), format!("{script}.map")])
}

fn write_bundle(out: &Path, bundle: &Bundle) -> io::Result<()> {
    let directory = out.join("client");
    fs::create_dir_all(&directory)?;
    let mut table = String::new();
    for (name, content) in &bundle.files {
        fs::write(directory.join(name), content)?;
        writeln!(
            table,
            "    ({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/client/{name}\"))),"
        )
        .map_err(io::Error::other)?;
    }
    write_source(out, &bundle.version, "None", &table)
}

fn write_absence(out: &Path, reason: &str) -> io::Result<()> {
    write_source(out, VERSION, &format!("Some({reason:?})"), "")
}

fn write_source(out: &Path, version: &str, absent: &str, table: &str) -> io::Result<()> {
    let source = format!(
        "/// The version of the npm package `{PACKAGE}` that the files are of.\n\
         pub(crate) const VERSION: &str = {version:?};\n\
         /// Why the client is not embedded in this build; `None` when it is.\n\
         pub(crate) const ABSENT: Option<&str> = {absent};\n\
         /// The client's builds and their source maps, each by its file name.\n\
         pub(crate) const FILES: &[(&str, &[u8])] = &[\n{table}];\n"
    );
    fs::write(out.join("client_bundle.rs"), source)
}
