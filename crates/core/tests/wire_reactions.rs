//! Every message of the published protocol has the reaction that its file records.
//!
//! The files are those of `proto/tests/wire/uplink`, and the README beside them has their format. `proto` proves
//! what a message means; here the same bytes are decoded and given to `step`, and what follows is compared with
//! the file's lines `reaction:`. Whom a message may be about is decided in `engine`; such files are only counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use otaru_core::campaign::{PackageFacts, Policy};
use otaru_core::deployment::{
    Because, Circumstances, Deployment, Doubt, Event, Label, Outcome, OutcomeKind, Say, State, Step, step,
};
use otaru_core::{Epoch, ServiceTime};
use otaru_proto::{EventBody, PackageKind, Percent, Subject, Uplink, Version, VersionReport, decode_uplink};

#[test]
fn every_message_has_the_reaction_that_its_file_records() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tests/wire/uplink");
    let mut failures = Vec::new();
    let mut proven = BTreeMap::<String, u32>::new();
    for entry in fs::read_dir(&folder).expect("the fixtures of proto lie beside this crate") {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        match check(&text) {
            Ok(reactions) => reactions.into_iter().for_each(|word| *proven.entry(word).or_default() += 1),
            Err(failure) => failures.push(format!("{}: {failure}", path.display())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));

    // No reaction of the README is there in vain, so that none is proven by nothing.
    let words: BTreeSet<&str> = proven.keys().map(String::as_str).collect();
    let known = [
        "answer",
        "ask_version",
        "await_install",
        "carry_on",
        "fail",
        "ignore",
        "keep_waiting",
        "progress",
        "refuse_subject",
        "send_notice",
        "succeed",
    ];
    assert_eq!(words, BTreeSet::from(known));
}

/// Plays one file; returns the words of the reactions that were found to be so.
fn check(text: &str) -> Result<Vec<String>, String> {
    let (payload, meaning) = text
        .split_once('\n')
        .and_then(|(_origin, rest)| rest.split_once("\n====\n"))
        .ok_or("has no origin or no separator")?;
    let bytes = match payload.strip_prefix("hex: ") {
        Some(hex) => from_hex(hex)?,
        None => payload.as_bytes().to_vec(),
    };
    let uplink = decode_uplink(&bytes).map_err(|error| error.to_string())?;
    let mut proven = Vec::new();
    let mut scene = None;
    for line in meaning.lines().filter_map(|line| line.strip_prefix("reaction: ")) {
        let (given, wanted) = line.split_once(" -> ").ok_or(format!("{line}: has no arrow"))?;
        let wanted: Vec<&str> = wanted.split("; ").collect();
        let given = Given::read(given)?;
        match given.keys().as_slice() {
            ["state"] => nothing_moves(&given, &uplink, &wanted)?,
            ["then", "answered"] => {
                let mut scene: Scene = scene.clone().ok_or("nothing was asked that could be answered")?;
                let version = scene.version_report(given.get("answered")?);
                scene.play(Event::VersionReported(&version))?;
                let [wanted] = wanted[..] else { return Err(format!("{line}: one answer, one reaction")) };
                same(wanted, &scene.reaction())?;
            }
            ["state", "kind", "target", "stored"] => {
                scene = Some(events_move(&given, &uplink, &wanted)?);
            }
            other => return Err(format!("{other:?}: no such state")),
        }
        proven.extend(wanted.iter().map(|reaction| word(reaction).to_owned()));
    }
    if proven.is_empty() { Err("has no reaction".into()) } else { Ok(proven) }
}

/// Whatever is going on, the message moves no deployment; or it may not be about the device at all.
fn nothing_moves(given: &Given<'_>, uplink: &Uplink, wanted: &[&str]) -> Result<(), String> {
    same("any", given.get("state")?)?;
    for wanted in wanted {
        match word(wanted) {
            "refuse_subject" => {
                if uplink.subject == Subject::Connected {
                    return Err("is about the connected device; there is nothing to refuse".into());
                }
            }
            "ignore" | "answer" => {
                let asked = Scene::asked(PackageKind::Firmware, "v2.0.0")?;
                let told = Scene::told(PackageKind::Firmware, "v2.0.0", "v1.0.0")?;
                for mut scene in [asked, told] {
                    let before = scene.deployment.clone();
                    for event in &uplink.events {
                        scene.hear(&event.body)?;
                        same("", &scene.said.map(|say| format!("{say:?}")).unwrap_or_default())?;
                    }
                    same(&format!("{before:?}"), &format!("{:?}", scene.deployment))?;
                }
            }
            other => return Err(format!("{other}: not a reaction to a message that moves nothing")),
        }
    }
    Ok(())
}

/// Each report of the message moves the deployment as recorded.
fn events_move(given: &Given<'_>, uplink: &Uplink, wanted: &[&str]) -> Result<Scene, String> {
    let kind = match given.get("kind")? {
        "firmware" => PackageKind::Firmware,
        "software" => PackageKind::Software,
        other => return Err(format!("{other}: no such kind")),
    };
    let (target, stored) = (given.get("target")?, given.get("stored")?);
    let mut scene = match given.get("state")? {
        "asked" => Scene::asked(kind, target)?,
        "running" => Scene::told(kind, target, stored)?,
        other => return Err(format!("{other}: no such state")),
    };
    let about_upgrades: Vec<&EventBody> = uplink
        .events
        .iter()
        .map(|event| &event.body)
        .filter(|body| match body {
            EventBody::VersionReport(_) | EventBody::ProgressReport(_) | EventBody::Rejected { .. } => true,
            EventBody::OtherService { .. } | EventBody::UnknownOta { .. } | EventBody::Nameless => false,
        })
        .collect();
    if about_upgrades.len() != wanted.len() {
        return Err(format!(
            "has {} events about upgrades and {} reactions",
            about_upgrades.len(),
            wanted.len()
        ));
    }
    for (body, wanted) in about_upgrades.into_iter().zip(wanted) {
        same(wanted, &scene.hear(body)?)?;
    }
    Ok(scene)
}

/// A deployment in the middle of things, with the device in its session 1.
#[derive(Clone)]
struct Scene {
    packages: [PackageFacts; 1],
    policy: Policy,
    deployment: Deployment,
    /// What was said in the last step.
    said: Option<Say>,
    /// How far it was before the last step.
    progress_before: Option<Percent>,
}

impl Scene {
    /// The device was asked which version it runs.
    fn asked(kind: PackageKind, target: &str) -> Result<Scene, String> {
        let package = PackageFacts {
            package_id: "package".into(),
            product_id: "product".into(),
            kind,
            version: target.into(),
            source_versions: Vec::new(),
        };
        let released = Deployment::released(ServiceTime(90_000_000));
        let mut scene = Scene {
            packages: [package],
            policy: Policy::default(),
            deployment: released,
            said: None,
            progress_before: None,
        };
        scene.play(Event::Start { epoch: Epoch(1) })?;
        same("asked", scene.deployment.label().name())?;
        Ok(scene)
    }

    /// The device was told, and runs `stored`.
    fn told(kind: PackageKind, target: &str, stored: &str) -> Result<Scene, String> {
        let mut scene = Scene::asked(kind, target)?;
        let answer = scene.version_report(stored);
        scene.play(Event::VersionReported(&answer))?;
        same("offered", scene.deployment.label().name())?;
        Ok(scene)
    }

    fn version_report(&self, version: &str) -> VersionReport {
        let version = Version::as_sent(version);
        match self.packages[0].kind {
            PackageKind::Firmware => VersionReport { fw_version: version, ..VersionReport::default() },
            PackageKind::Software => VersionReport { sw_version: version, ..VersionReport::default() },
        }
    }

    /// Hears one event of a message; says how it was reacted to.
    fn hear(&mut self, body: &EventBody) -> Result<String, String> {
        match body {
            EventBody::VersionReport(report) => self.play(Event::VersionReported(report))?,
            EventBody::ProgressReport(report) => {
                self.play(Event::Progressed(report))?;
                if self.deployment.label() == Label::Offered {
                    return Ok("no reaction, though the device reported".into());
                }
            }
            // No event of a deployment: nothing is played.
            EventBody::Rejected { .. }
            | EventBody::OtherService { .. }
            | EventBody::UnknownOta { .. }
            | EventBody::Nameless => {
                self.said = None;
                let is_asked = self.deployment.label() == Label::Asked;
                return Ok(if is_asked { "keep_waiting" } else { "ignore" }.into());
            }
        }
        Ok(self.reaction())
    }

    /// One step, and the same again, which must change nothing.
    fn play(&mut self, event: Event<'_>) -> Result<(), String> {
        let seen = Circumstances {
            now: ServiceTime(0),
            reachable: Some(Epoch(1)),
            packages: &self.packages,
            policy: &self.policy,
            open: true,
            cancelled: false,
            last_download: None,
            may_ask: true,
            watched_since: None,
        };
        let first = step(&self.deployment, event, &seen);
        let again = step(&first.deployment, event, &seen);
        if again.deployment != first.deployment || again.say.is_some() {
            return Err(format!("{event:?} heard twice is not the same as once"));
        }
        let Step { deployment, say } = first;
        self.progress_before = self.deployment.progress;
        self.deployment = deployment;
        self.said = say;
        Ok(())
    }

    /// What was decided in the last step, in the words of the README.
    fn reaction(&self) -> String {
        let Scene { deployment, said, progress_before, .. } = self;
        match (&deployment.state, said) {
            (State::Asked { .. }, None) => "keep_waiting".into(),
            (State::Offered(_), Some(Say::Notice(0))) => "send_notice".into(),
            (State::Running(_), None) => {
                match deployment.progress.filter(|_| deployment.progress > *progress_before) {
                    Some(percent) => format!("progress {}", percent.get()),
                    None => "carry_on".into(),
                }
            }
            // It named its version in the midst of work.
            (State::Offered(_), None) => "carry_on".into(),
            (State::Confirming { doubt: Doubt::OtherVersion, .. }, None) => "await_install".into(),
            (State::Confirming { .. }, Some(Say::AskVersion)) => "ask_version".into(),
            (State::Finished(Outcome { kind: OutcomeKind::Installed, .. }), None) => "succeed".into(),
            (State::Finished(Outcome { kind: OutcomeKind::Failed, because: Because::Code(code) }), None) => {
                format!("fail {}", code.to_wire())
            }
            (state, said) => format!("{state:?}, saying {said:?}"),
        }
    }
}

/// The part of a reaction line before its arrow.
struct Given<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Given<'a> {
    fn read(text: &'a str) -> Result<Given<'a>, String> {
        Ok(Given(text.split(' ').map(|part| part.split_once('=').unwrap_or((part, ""))).collect()))
    }

    fn keys(&self) -> Vec<&'a str> {
        self.0.iter().map(|(key, _)| *key).collect()
    }

    fn get(&self, wanted: &str) -> Result<&'a str, String> {
        let found = self.0.iter().find(|(key, _)| *key == wanted);
        found.map(|(_, value)| *value).ok_or(format!("{wanted} is missing"))
    }
}

/// A reaction without its number or its name.
fn word(reaction: &str) -> &str {
    reaction.split_once(' ').map_or(reaction, |(word, _)| word)
}

fn same(expected: &str, found: &str) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("expected {expected}, found {found}")) }
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    (0..text.len())
        .step_by(2)
        .map(|at| {
            let digits = text.get(at..at + 2).ok_or("has half a byte")?;
            u8::from_str_radix(digits, 16).map_err(|error| error.to_string())
        })
        .collect()
}
