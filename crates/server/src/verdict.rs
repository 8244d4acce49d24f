//! Whether the platform told the truth about every device.

use std::collections::BTreeMap;

use otaru_fleet::Script;
use otaru_proto::DeviceId;

use crate::operator::Shown;

/// What the comparison found.
pub(crate) struct Verdict {
    pub(crate) devices: usize,
    /// One sentence for each device that ended otherwise than its script says.
    pub(crate) differences: Vec<String>,
    /// A device worth looking at.
    pub(crate) example: String,
}

/// Holds what the platform says against what the scripts say.
pub(crate) fn compare<'a>(
    cast: impl Iterator<Item = (&'a DeviceId, &'a Script)>,
    deployments: &[Shown],
) -> Verdict {
    let mut found: BTreeMap<&str, &Shown> =
        deployments.iter().map(|shown| (shown.device_id.as_str(), shown)).collect();
    let (mut devices, mut differences) = (0, Vec::new());
    for (device, script) in cast {
        devices += 1;
        let device = device.as_str();
        let ending = script.ending();
        let expected = wording(ending.outcome(), ending.result_code());
        let Some(shown) = found.remove(device) else {
            differences
                .push(format!("{device} {script}: expected {expected}, but the campaign does not have it"));
            continue;
        };
        let outcome = shown.outcome.as_deref().unwrap_or(&shown.state);
        // The last code is only decisive for a failure.
        let code = shown.result_code.filter(|_| ending.result_code().is_some());
        if outcome != ending.outcome() || code != ending.result_code() {
            let got = wording(outcome, code);
            differences
                .push(format!("{device} {script}: expected {expected}, got {got} ({})", shown.explanation));
        }
    }
    differences
        .extend(found.keys().map(|device| format!("{device} is in the campaign and was never registered")));
    let failed = deployments.iter().find(|shown| shown.outcome.as_deref() == Some("failed"));
    let example = failed.or(deployments.first()).map_or_else(String::new, |shown| shown.device_id.clone());
    Verdict { devices, differences, example }
}

fn wording(outcome: &str, code: Option<i64>) -> String {
    match code {
        Some(code) => format!("{outcome} with code {code}"),
        None => outcome.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Cast;

    /// What a truthful platform shows about a cast.
    fn truth(cast: &Cast) -> Vec<Shown> {
        let shown = |(device_id, script): (&DeviceId, &Script)| {
            let ending = script.ending();
            Shown {
                device_id: device_id.to_string(),
                state: "finished".into(),
                outcome: Some(ending.outcome().into()),
                result_code: ending.result_code().or(Some(0)),
                explanation: "because".into(),
            }
        };
        cast.scripts().map(shown).collect()
    }

    #[test]
    fn the_truth_has_no_differences() {
        let cast = Cast::draw(60, 3).unwrap();
        assert_eq!(compare(cast.scripts(), &truth(&cast)).differences, Vec::<String>::new());
    }

    #[test]
    fn every_untruth_is_found_and_named() {
        let cast = Cast::draw(60, 3).unwrap();
        let mut told = truth(&cast);
        let liar =
            told.iter().position(|shown| shown.outcome.as_deref() == Some("version_mismatch")).unwrap();
        told[liar].outcome = Some("installed".into());
        let failed = told.iter().position(|shown| shown.result_code == Some(7)).unwrap();
        told[failed].result_code = Some(1);
        let unfinished = told.iter().position(|shown| shown.outcome.as_deref() == Some("timed_out")).unwrap();
        (told[unfinished].state, told[unfinished].outcome) = ("running".into(), None);
        let lost = told.remove(told.iter().position(|shown| shown.result_code == Some(10)).unwrap());
        told.push(Shown { device_id: "stranger".into(), ..lost });

        let differences = compare(cast.scripts(), &told).differences.join("\n");
        for expected in [
            "lies about its version: expected version_mismatch, got installed (because)",
            "expected failed with code 7, got failed with code 1",
            "expected timed_out, got running",
            "expected failed with code 10, but the campaign does not have it",
            "stranger is in the campaign and was never registered",
        ] {
            assert!(differences.contains(expected), "missing: {expected}\nin: {differences}");
        }
        assert_eq!(differences.lines().count(), 5);
    }
}
