//! The flags of a node, and the sources of its configuration.

use std::{ffi::OsString, fs, path::PathBuf};

use clap::Args;
use fanfare::config::{File, Flag, Mistakes, Place, Sources};

/// The variable that names the configuration file where `--config` is not given.
const CONFIG: &str = "FANFARE_CONFIG";

/// Where the configuration comes from. Every key can also be set by a variable: see `fanfare config default`.
#[derive(Debug, Args)]
pub(super) struct NodeFlags {
    /// The configuration file [variable: FANFARE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address that clients connect to, for example 0.0.0.0:3000
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The address of /livez, /readyz and /metrics, for example 127.0.0.1:3001
    #[arg(long, value_name = "ADDR")]
    internal_listen: Option<String>,
    #[command(flatten)]
    adapter: AdapterFlags,
}

/// What joins the nodes.
#[derive(Debug, Args)]
pub(super) struct AdapterFlags {
    /// What joins the nodes: memory, redis or nats
    #[arg(long, value_name = "KIND")]
    adapter: Option<String>,
    /// Where Redis is, for example redis://127.0.0.1:6379
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
    /// Where NATS is, for example nats://127.0.0.1:4222
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
}

impl NodeFlags {
    /// The file, the process environment and these flags.
    pub(super) fn sources(&self) -> Result<Sources, Mistakes> {
        self.sources_with(std::env::vars_os().collect())
    }

    fn sources_with(&self, variables: Vec<(OsString, OsString)>) -> Result<Sources, Mistakes> {
        let named = || {
            variables
                .iter()
                .find(|(name, _)| name == CONFIG)
                .map(|(_, path)| (Place::Variable(CONFIG.to_owned()), PathBuf::from(path)))
        };
        let chosen = self.config.clone().map(|path| (Place::Flag("--config"), path)).or_else(named);
        let file = chosen.map(|(place, path)| match fs::read_to_string(&path) {
            Ok(text) => Ok(File {
                name: path.display().to_string(),
                text,
            }),
            Err(error) => Err(Mistakes::one(
                place,
                "",
                format!("cannot read {}: {error}; expected a TOML file in UTF-8", path.display()),
            )),
        });
        let file = file.transpose()?;
        let own = [
            ("--listen", "server.listen", &self.listen),
            ("--internal-listen", "internal.listen", &self.internal_listen),
        ];
        let mut flags = self.adapter.flags();
        flags.extend(own.into_iter().filter_map(flag));
        Ok(Sources { file, variables, flags })
    }
}

impl AdapterFlags {
    /// These flags as flags of the configuration.
    pub(super) fn flags(&self) -> Vec<Flag> {
        let all = [
            ("--adapter", "adapter.kind", &self.adapter),
            ("--redis-url", "adapter.redis.url", &self.redis_url),
            ("--nats-url", "adapter.nats.url", &self.nats_url),
        ];
        all.into_iter().filter_map(flag).collect()
    }
}

fn flag((name, key, value): (&'static str, &'static str, &Option<String>)) -> Option<Flag> {
    value.clone().map(|value| Flag { name, key, value })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        flags: NodeFlags,
    }

    #[test]
    fn every_flag_stands_for_a_key() {
        let words = "x --listen 127.0.0.1:1 --internal-listen 127.0.0.1:2 --adapter redis --redis-url redis://h --nats-url nats://h";
        let sources = Line::parse_from(words.split(' ')).flags.sources_with(Vec::new()).unwrap();
        let set = sources.load().unwrap().set;
        let keys: Vec<String> = set.iter().map(|set| format!("{} {}", set.place, set.key)).collect();
        let expected = [
            "--listen server.listen",
            "--internal-listen internal.listen",
            "--adapter adapter.kind",
            "--redis-url adapter.redis.url",
            "--nats-url adapter.nats.url",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_mistake_of_who_named_it() {
        let flags = Line::parse_from(["x", "--config", "/nowhere/fanfare.toml"]).flags;
        assert!(
            flags
                .sources_with(Vec::new())
                .unwrap_err()
                .to_string()
                .contains("--config: cannot read /nowhere/fanfare.toml")
        );
        let flags = Line::parse_from(["x"]).flags;
        let error = flags.sources_with(vec![(CONFIG.into(), "/nowhere/else.toml".into())]).unwrap_err();
        assert!(error.to_string().contains("FANFARE_CONFIG: cannot read /nowhere/else.toml"));
    }
}
