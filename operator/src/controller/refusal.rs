//! Why a spec is not realised: `Stalled`, until somebody changes something.

/// The reasons, as conditions and Events carry them.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// The operator does not honour this namespace.
    NamespaceNotAllowed,
    /// A field, or fields together, make no sense.
    InvalidSpec,
    /// A field is known but does nothing yet, so it is refused rather than ignored.
    NotImplemented,
    /// The settings, or a certificate authority, are too large to publish.
    SettingsTooLarge,
    /// A ConfigMap, a Secret or a key of it is not there.
    ReferenceNotFound,
    /// It is there, and what it holds is of no use.
    ReferenceUnusable,
    /// An object of a child's name belongs to somebody else.
    Conflict,
    /// The installed CRD is older than the operator and drops fields.
    SettingsPruned,
    /// The API server does not take the status: the installed CRD is not the operator's.
    StatusRefused,
}

impl Reason {
    /// As conditions and Events carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::InvalidSpec => "InvalidSpec",
            Self::NotImplemented => "NotImplemented",
            Self::SettingsTooLarge => "SettingsTooLarge",
            Self::ReferenceNotFound => "ReferenceNotFound",
            Self::ReferenceUnusable => "ReferenceUnusable",
            Self::Conflict => "Conflict",
            Self::SettingsPruned => "SettingsPruned",
            Self::StatusRefused => "StatusRefused",
        }
    }
}

/// Something that is wrong and holds up nothing else.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// In one word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

impl Fault {
    /// A fault.
    pub fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// One thing that is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Why.
    pub reason: Reason,
    /// The field, and what is wrong with it.
    pub message: String,
}

/// All that is refused; never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The reason that stands for all.
    pub reason: Reason,
    /// Every finding.
    pub message: String,
}

/// As long as a condition's message gets.
const MAX_MESSAGE: usize = 1024;

impl Refusal {
    /// A refusal with one finding.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: truncated(message.into()),
        }
    }

    /// The refusal of these findings; nothing when there are none.
    pub fn of(findings: &[Finding]) -> Option<Self> {
        let reason = findings.iter().map(|finding| finding.reason).min()?;
        let all: Vec<&str> = findings
            .iter()
            .map(|finding| finding.message.as_str())
            .collect();
        Some(Self::new(reason, all.join("; ")))
    }
}

/// The text in one line, cut to what a condition's message holds.
pub fn truncated(mut text: String) -> String {
    if text.contains('\n') {
        let lines = text.lines().map(str::trim);
        text = lines.collect::<Vec<_>>().join(" ");
    }
    if text.len() > MAX_MESSAGE {
        let cut = (0..=MAX_MESSAGE - 3)
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or_default();
        text.truncate(cut);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_reason_stands_for_all() {
        let finding = |reason, message: &str| Finding {
            reason,
            message: message.into(),
        };
        let refusal = Refusal::of(&[
            finding(Reason::ReferenceNotFound, "a"),
            finding(Reason::InvalidSpec, "b"),
        ])
        .unwrap();
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert_eq!(refusal.message, "a; b");
        assert_eq!(Refusal::of(&[]), None);
    }

    #[test]
    fn messages_are_cut_between_characters() {
        let text = truncated("é".repeat(2000));
        assert!(text.len() <= MAX_MESSAGE && text.ends_with("..."));
        assert_eq!(truncated("a:\n  b\n".to_owned()), "a: b");
    }
}
