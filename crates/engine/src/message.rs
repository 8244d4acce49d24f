//! What a message to a device is made of, from the line of the outbox that says it.

use bytes::Bytes;
use otaru_core::WallTime;
use otaru_proto::{Access, Downlink, Notice, PackageKind, TaskInfo, encode_downlink};
use otaru_store::{Delivery, OutboxLine, Say};

use crate::batch::Spoken;
use crate::downloads::Claim;
use crate::driver::Shared;

/// The bytes of what is said. Address and token are made here, so that nothing secret is stored.
///
/// `None`: the bytes of the package are not kept, of which no device is told (`CampaignFacts::packages_ready`).
pub(crate) fn message(shared: &Shared, line: &OutboxLine, spoken: &Spoken) -> Option<Bytes> {
    let wall = shared.clock.wall();
    let task = task_info(spoken);
    let downlink = match line.say {
        Say::AskVersion => Downlink::VersionQuery { task },
        Say::Notice { package, attempt } => {
            let package = &spoken.campaign.packages[usize::from(package)];
            let (artifact_id, file_size) = package.content.artifact()?;
            let life = shared.settings.token_life;
            let life_ms = i64::try_from(life.as_millis()).unwrap_or(i64::MAX);
            let expires_at = WallTime(wall.0.saturating_add(life_ms));
            let token = shared.download_tokens.make(&spoken.deployment_id, Claim { attempt, expires_at });
            let path = format!(
                "{}/download/{}/{}",
                shared.settings.public_url, spoken.deployment_id, package.file_name
            );
            let (url, access) = match shared.settings.delivery.unwrap_or(package.delivery) {
                // The Android SDK sends no header for software, so that its address carries the token as well.
                Delivery::Token if package.kind == PackageKind::Software => {
                    (format!("{path}?access_token={token}"), Access::Token(token))
                }
                Delivery::Token => (path, Access::Token(token)),
                Delivery::SignedUrl => (format!("{path}?access_token={token}"), Access::SignedUrl),
            };
            Downlink::Notice(Notice {
                kind: package.kind,
                access,
                version: package.version.clone(),
                url,
                file_size,
                file_name: package.file_name.clone(),
                expires_secs: u32::try_from(life.as_secs()).unwrap_or(u32::MAX),
                sign: artifact_id.to_owned(),
                custom_info: package.custom_info.clone(),
                task,
            })
        }
    };
    Some(Bytes::from(encode_downlink(&spoken.device_id, &downlink, wall.0)))
}

/// What a device is told about the campaign beside the upgrade itself.
fn task_info(spoken: &Spoken) -> Option<TaskInfo> {
    let campaign = &spoken.campaign;
    let ext = campaign.ext_info.clone();
    match spoken.siblings {
        Some(sub_device_count) => {
            Some(TaskInfo { task_id: campaign.campaign_id.clone(), sub_device_count, ext })
        }
        None => ext.map(|ext| TaskInfo { task_id: String::new(), sub_device_count: 0, ext: Some(ext) }),
    }
}
