//! The newcomer's path, word for word as `plugins/README.md` tells it: from nothing to a packet that one's own plugin
//! decides. Files and commands are read from the page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use palisade_integration::format::{Probe, Protocol, Topology};
use palisade_integration::prerequisite::{Prerequisite, have};
use palisade_integration::product::{Binaries, Deployment, Palisadectl};
use palisade_integration::sandbox::Sandbox;
use palisade_integration::traffic::probe::observe;

const PAGE: &str = include_str!("../../plugins/README.md");
const FIRST_PAGE: &str = include_str!("../../README.md");

/// The host of the first policy.
const TOPOLOGY: &str = "
hosts:
  - name: web1
    interfaces: [{name: eth0, address: 192.0.2.10/24, address6: 'fd00:65::10/64'}]
    protected: true
    listeners: [{proto: tcp, port: 80}, {proto: tcp, port: 443}]
  - name: client
    interfaces: [{name: eth0, address: 192.0.2.20/24, address6: 'fd00:65::20/64'}]
";

/// What stands between fences of a language, from a heading on.
fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let (_, section) = page.split_once(heading).expect("the heading");
    let section = section.split_once("\n## ").map_or(section, |(own, _)| own);
    let blocks = section.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

fn told(language: &str) -> Vec<String> {
    let heading = "\n## From nothing to a packet decided by your plugin\n";
    blocks(PAGE, heading, language)
}

/// Somebody at a shell, who knows the page only.
struct Newcomer {
    palisadectl: Palisadectl,
    folder: PathBuf,
}

impl Newcomer {
    /// Types the lines of a block; what they print, and how the last one ended.
    fn types(&mut self, lines: &str) -> (String, Option<i32>) {
        let (mut printed, mut code) = (String::new(), None);
        for line in lines.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["cd", folder] => self.folder.push(folder),
                ["palisadectl", arguments @ ..] => {
                    let palisadectl = self.palisadectl.in_folder(&self.folder);
                    let output = palisadectl.run(arguments, "").expect("palisadectl");
                    printed += &format!("$ {line}\n{}{}", output.stdout, output.stderr);
                    code = output.code;
                    let explains = arguments.first() == Some(&"explain");
                    assert!(code == Some(0) || explains, "{printed}");
                }
                _ => panic!("the page has a line that this test does not know: {line}"),
            }
        }
        (printed, code)
    }

    fn writes(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).expect("a file");
    }
}

struct World {
    sandbox: Sandbox,
    deployment: Deployment,
}

impl World {
    fn start() -> Self {
        let topology: Topology = serde_saphyr::from_str(TOPOLOGY).expect("a topology");
        let sandbox = Sandbox::build(&topology, &BTreeSet::new()).expect("a sandbox");
        let binaries = Binaries::find().expect("the binaries");
        let mut deployment = Deployment::start(&sandbox, &binaries).expect("a control plane");
        deployment.enrol(&sandbox, "web1").expect("a node");
        Self {
            sandbox,
            deployment,
        }
    }

    /// Connections from a port to the same port are allowed or not; others are allowed always, and other ports never.
    #[track_caller]
    fn shows_same_port(&self, allowed: bool) {
        for (from, to, family, allow) in [
            (80, 80, 4, allowed),
            (80, 80, 6, allowed),
            (443, 443, 4, allowed),
            (443, 80, 4, true),
            (4080, 80, 4, true),
            (4080, 80, 6, true),
            (81, 81, 4, false),
        ] {
            let probe = Probe {
                sport: Some(from),
                family: Some(family),
                ..Probe::new("client", "web1", Protocol::TCP, to, allow)
            };
            let shown = observe(&self.sandbox, &probe, &BTreeSet::new());
            let shown = shown.expect("a probe that can be sent");
            assert!(shown, "{probe}, allow: {allow}\n{}", self.deployment.logs());
        }
    }
}

/// What an earlier run of this test built is used again.
fn build_in_one_place(project: &Path) {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("newcomer");
    let config = format!("[build]\ntarget-dir = {:?}\n", built.to_string_lossy());
    fs::create_dir(project.join(".cargo")).expect("a folder");
    fs::write(project.join(".cargo/config.toml"), config).expect("a file");
}

#[test]
fn from_nothing_to_a_packet_decided_by_your_plugin() {
    if !have("newcomer", &[Prerequisite::Netns, Prerequisite::Binaries]) {
        return;
    }
    let [make, push, apply] = told("sh").try_into().expect("three blocks of commands");
    let [code] = told("rust").try_into().expect("the condition");
    let [fixtures, policy] = told("yaml").try_into().expect("fixtures and a policy");
    let folder = tempfile::tempdir().expect("a folder");

    // At home: no control plane is needed until the plugin is uploaded.
    let mut newcomer = Newcomer {
        palisadectl: Palisadectl::offline(&Binaries::find().expect("the binaries")),
        folder: folder.path().to_owned(),
    };
    newcomer.types(&make);
    build_in_one_place(&newcomer.folder);
    let (printed, _) = newcomer.types("palisadectl plugin test");
    assert!(printed.contains("3 passed, 0 failed"), "{printed}");
    newcomer.writes("src/lib.rs", &code);
    newcomer.writes("fixtures/ports.yaml", &fixtures);
    let (printed, _) = newcomer.types("palisadectl plugin test\npalisadectl plugin build");
    assert!(printed.contains("3 passed, 0 failed"), "{printed}");

    let world = World::start();
    let first = blocks(FIRST_PAGE, "\n## The first policy\n", "yaml");
    let palisadectl = world.deployment.palisadectl();
    palisadectl
        .apply(&first.concat())
        .expect("the first policy");
    world.shows_same_port(true);

    newcomer.palisadectl = palisadectl.clone();
    let (printed, _) = newcomer.types(&push);
    assert!(printed.contains("sha256:"), "{printed}");
    newcomer.writes("same-port.yaml", &policy);
    let (printed, code) = newcomer.types(&apply);
    assert_eq!(code, Some(3), "a match is denied: {printed}");
    world.shows_same_port(false);
    status_and_explain_agree(&mut newcomer);

    // What the page says of settings that the plugin does not accept.
    let wrong = policy.replace("ports: [80, 443]", "ports: []");
    newcomer.writes("wrong.yaml", &wrong);
    let refused = palisadectl.in_folder(&newcomer.folder);
    let refused = refused.run(&["apply", "-f", "wrong.yaml"], "");
    let refused = refused.expect("palisadectl");
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    let said = "spec.ingress[0].plugin.settings.ports: is empty: name at least one";
    assert!(
        PAGE.contains(said) && refused.stderr.contains(said),
        "{}",
        refused.stderr
    );

    palisadectl
        .delete("GlobalNetworkPolicy/no-same-port")
        .expect("a deletion");
    world.shows_same_port(true);
}

fn status_and_explain_agree(newcomer: &mut Newcomer) {
    let (status, _) = newcomer.types("palisadectl plugin status -o json");
    let (_, status) = status.split_once('\n').expect("after the command");
    let status: serde_json::Value = serde_json::from_str(status).expect("JSON");
    assert_eq!(status[0]["plugin"], "same-port", "{status}");
    assert_eq!(status[0]["state"], "active", "{status}");

    let packet =
        "palisadectl explain web1 --in eth0 --proto tcp --src 192.0.2.20:80 --dst 192.0.2.10:80";
    let (printed, code) = newcomer.types(packet);
    assert_eq!(code, Some(3), "{printed}");
    assert!(
        printed.contains("depends on plugin `same-port`"),
        "{printed}"
    );
    let (printed, code) = newcomer.types(&format!("{packet} --plugin same-port=no-match"));
    assert_eq!(code, Some(0), "{printed}");
}
