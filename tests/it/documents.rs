//! What the documents say of the configuration is true: every file that they show loads, every variable that they name is read.

use std::{fs, path::Path};

use fanfare::config::{File, Sources, default_file};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The text of each fenced block of `language`.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    document
        .split(&*fence)
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// Every word of the text that begins with `FANFARE_`.
fn variables(text: &str) -> Vec<&str> {
    text.split(|character: char| !character.is_ascii_uppercase() && !character.is_ascii_digit() && character != '_')
        .filter(|word| word.starts_with("FANFARE_") && word.len() > "FANFARE_".len())
        .collect()
}

fn check(name: &str, text: &str) {
    let file = File {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    if let Err(mistakes) = (Sources {
        file: Some(file),
        ..Sources::default()
    })
    .load()
    {
        panic!("{mistakes}");
    }
}

#[test]
fn every_configuration_that_is_shown_loads() {
    let readme = read("README.md");
    let shown = blocks(&readme, "toml");
    assert_eq!(shown.len(), 1, "the README shows one configuration");
    check("README.md", shown[0]);
    for path in ["k8s/base/fanfare.toml", "tests/clients/fanfare.toml"] {
        check(path, &read(path));
    }
}

#[test]
fn every_variable_that_is_named_is_a_key() {
    let defaults = default_file();
    let known = variables(&defaults);
    for path in [
        "README.md",
        "k8s/overlays/memory/kustomization.yaml",
        "k8s/overlays/redis/kustomization.yaml",
        "k8s/overlays/nats/kustomization.yaml",
        "k8s/balancers/traefik/kustomization.yaml",
        "k8s/balancers/ingress-nginx/kustomization.yaml",
        "k8s/balancers/alb/kustomization.yaml",
        "k8s/balancers/gke/kustomization.yaml",
    ] {
        let text = read(path);
        let named = variables(&text);
        assert!(!named.is_empty(), "{path} names no variable");
        for name in named {
            assert!(known.contains(&name), "{path} names {name}, which is no key");
        }
    }
}

#[test]
fn every_key_that_the_readme_names_in_passing_exists() {
    let readme = read("README.md");
    let defaults = default_file();
    for key in [
        "adapter.kind",
        "cookie.enabled",
        "cluster.secret",
        "cluster.node",
        "internal.listen",
    ] {
        assert!(
            readme.contains(&format!("`{key}")),
            "the README no longer names {key}: take it from this list"
        );
        let variable = format!("FANFARE_{}", key.to_uppercase().replace('.', "__"));
        assert!(variables(&defaults).contains(&&*variable), "{key} is no key");
    }
}
