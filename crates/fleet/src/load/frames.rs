//! The few MQTT 3.1.1 packets that the load generator says and hears, as bytes.

/// What stands before the two digits of the progress: in the member for it, and in the description.
const BEFORE_PROGRESS: [&[u8]; 2] = [b"\"progress\":", b"processing, "];

/// A PUBLISH at QoS 1 that only needs its packet id and a progress filled in.
pub(super) struct Report {
    frame: Vec<u8>,
    id_at: usize,
    payload_at: usize,
    /// Where the two digits of the progress are, if the payload has two there.
    progress_at: [Option<usize>; 2],
}

impl Report {
    pub(super) fn new(topic: &str, payload: &[u8]) -> Report {
        let mut frame = Vec::new();
        let (id_at, payload_at) = publish(&mut frame, topic, 0, payload);
        let progress_at = BEFORE_PROGRESS.map(|before| {
            let mut parts = payload.windows(before.len() + 2);
            let at = parts.position(|part| {
                part.starts_with(before) && part[before.len()..].iter().all(u8::is_ascii_digit)
            });
            at.map(|at| payload_at + at + before.len())
        });
        Report { frame, id_at, payload_at, progress_at }
    }

    pub(super) fn payload_len(&self) -> usize {
        self.frame.len() - self.payload_at
    }

    /// Appends the packet with this id. Progress goes round from 10 to 99, so that no two reports in a row are
    /// equal and none says that the upgrade is done. A server that keeps the highest progress still has something
    /// to write with each report: the description says it too.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: u16) {
        let begin = out.len();
        out.extend_from_slice(&self.frame);
        out[begin + self.id_at..][..2].copy_from_slice(&id.to_be_bytes());
        for at in self.progress_at.into_iter().flatten() {
            let [tens, ones] = two_digits(10 + id % 90);
            out[begin + at] = tens;
            out[begin + at + 1] = ones;
        }
    }
}

fn two_digits(number: u16) -> [u8; 2] {
    [number / 10, number % 10].map(|digit| b'0' + u8::try_from(digit % 10).unwrap_or_default())
}

/// Appends a PUBLISH at QoS 1; returns where in `out` its id and its payload begin.
pub(super) fn publish(out: &mut Vec<u8>, topic: &str, id: u16, payload: &[u8]) -> (usize, usize) {
    out.push(0x32);
    length(out, 2 + topic.len() + 2 + payload.len());
    let topic_len = u16::try_from(topic.len()).expect("topics of devices are below 200 bytes");
    out.extend_from_slice(&topic_len.to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    let id_at = out.len();
    out.extend_from_slice(&id.to_be_bytes());
    let payload_at = out.len();
    out.extend_from_slice(payload);
    (id_at, payload_at)
}

/// Appends a PUBACK.
pub(super) fn puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[0x40, 2, high, low]);
}

/// MQTT 3.1.1, 2.2.3: seven bits a byte, the lowest first.
fn length(out: &mut Vec<u8>, mut rest: usize) {
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// A packet that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Connack(u8),
    Puback(u16),
    Publish {
        id: Option<u16>,
        payload: &'a [u8],
    },
    /// Nothing to do for it: SUBACK, PINGRESP.
    Quiet,
    /// Nothing that a server may say; its type.
    Unexpected(u8),
}

/// The first packet of `input` and how many bytes it takes; `None` if it is not all there yet.
pub(super) fn first(input: &[u8]) -> Option<(Packet<'_>, usize)> {
    let (&kind, rest) = input.split_first()?;
    let mut len = 0usize;
    let mut head = 1;
    for (place, byte) in rest.iter().enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * place);
        head += 1;
        if byte & 0x80 == 0 {
            let body = input.get(head..head + len)?;
            return Some((read(kind, body), head + len));
        }
        if place == 3 {
            return Some((Packet::Unexpected(kind >> 4), input.len()));
        }
    }
    None
}

fn read(kind: u8, body: &[u8]) -> Packet<'_> {
    let unexpected = Packet::Unexpected(kind >> 4);
    match (kind >> 4, body) {
        (2, [_, code]) => Packet::Connack(*code),
        (4, [high, low]) => Packet::Puback(u16::from_be_bytes([*high, *low])),
        (3, [high, low, rest @ ..]) => {
            let topic = usize::from(u16::from_be_bytes([*high, *low]));
            match (kind & 0x06, rest.get(topic..)) {
                (0, Some(payload)) => Packet::Publish { id: None, payload },
                (_, Some([high, low, payload @ ..])) => {
                    Packet::Publish { id: Some(u16::from_be_bytes([*high, *low])), payload }
                }
                (_, Some(_) | None) => unexpected,
            }
        }
        (9 | 13, _) => Packet::Quiet,
        _ => unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_back_with_its_id_and_a_progress_that_moves() {
        let report = Report::new(
            "$oc/devices/d/sys/events/up",
            br#"{"paras":{"progress":50,"x":"processing, 50 %"}}"#,
        );
        let read_back = |id| {
            let mut out = vec![1, 2, 3];
            report.write(&mut out, id);
            match first(&out[3..]) {
                Some((Packet::Publish { id, payload }, len)) if len == out.len() - 3 => {
                    (id, String::from_utf8(payload.to_vec()).unwrap())
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(read_back(1), (Some(1), r#"{"paras":{"progress":11,"x":"processing, 11 %"}}"#.to_owned()));
        assert_eq!(
            read_back(89),
            (Some(89), r#"{"paras":{"progress":99,"x":"processing, 99 %"}}"#.to_owned())
        );
        assert_eq!(read_back(65_535).0, Some(65_535));
    }

    #[test]
    fn packets_in_pieces_wait_for_their_rest() {
        let mut out = Vec::new();
        publish(&mut out, "t", 513, &[b'x'; 300]);
        puback(&mut out, 7);
        for cut in 0..out.len() - 4 {
            assert_eq!(first(&out[..cut]), None, "{cut}");
        }
        let (packet, len) = first(&out).unwrap();
        assert_eq!(packet, Packet::Publish { id: Some(513), payload: &[b'x'; 300] });
        assert_eq!(first(&out[len..]), Some((Packet::Puback(7), 4)));
    }

    #[test]
    fn what_no_server_says_is_unexpected() {
        assert_eq!(first(&[0x10, 0]), Some((Packet::Unexpected(1), 2)));
        assert_eq!(first(&[0x40, 1, 0]), Some((Packet::Unexpected(4), 3)));
        assert_eq!(first(&[0x32, 3, 0, 9, 1]), Some((Packet::Unexpected(3), 5)));
        assert_eq!(first(&[0x32, 0xff, 0xff, 0xff, 0xff, 1]), Some((Packet::Unexpected(3), 6)));
        assert_eq!(first(&[0xd0, 0]), Some((Packet::Quiet, 2)));
        assert_eq!(first(&[0x20, 2, 0, 5]), Some((Packet::Connack(5), 4)));
    }
}
