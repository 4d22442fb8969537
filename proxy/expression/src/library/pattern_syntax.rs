//! RE2 patterns, as Go reads them, to the `regex` crate's syntax.
//!
//! The two agree on most things; where the same text means something else or only one of them accepts it, it is
//! rewritten or refused here: ASCII classes, set operations inside brackets, braces that are no repetition, repeated
//! repetitions, and escapes that Go does not know.

mod escapes;

/// The largest count in a repetition that Go accepts, also for nested ones together.
const MAX_REPEAT: u32 = 1000;

/// Rewrites a pattern; nothing if Go would refuse it for its syntax.
pub(super) fn translate(pattern: &str) -> Option<String> {
    let mut translator = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len() + 16),
        groups: Vec::new(),
        weight: 1,
    };
    translator.run()?;
    Some(translator.out)
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
    /// For every open group, how often its largest part is repeated.
    groups: Vec<u32>,
    /// The same for what came last.
    weight: u32,
}

/// What came last, to which a repetition would apply.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Nothing,
    Atom,
    Repetition,
}

impl Translator<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = self.rest.get(character.len_utf8()..)?;
        Some(character)
    }

    fn accept(&mut self, wanted: &str) -> bool {
        let stripped = self.rest.strip_prefix(wanted);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    fn run(&mut self) -> Option<()> {
        let mut last = Last::Nothing;
        while let Some(character) = self.next() {
            last = match character {
                '*' | '+' | '?' => {
                    self.out.push(character);
                    self.repetition(last, 1)?
                }
                '{' => match counts(self.rest) {
                    Counts::None => {
                        self.out.push_str("\\{");
                        self.atom(1)
                    }
                    Counts::TooMany => return None,
                    Counts::Valid { text, times } => {
                        self.rest = self.rest.get(text.len() + 1..)?;
                        self.out.extend(["{", text, "}"]);
                        self.repetition(last, times)?
                    }
                },
                '|' => {
                    self.out.push('|');
                    Last::Nothing
                }
                '(' => self.group()?,
                ')' => {
                    self.out.push(')');
                    let weight = self.groups.pop()?;
                    self.atom(weight)
                }
                '\\' if self.accept("Q") => {
                    let (literal, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                    self.rest = rest;
                    self.out.push_str(&regex::escape(literal));
                    if literal.is_empty() {
                        last
                    } else {
                        self.atom(1)
                    }
                }
                _ => {
                    match character {
                        '\\' => self.escape(false)?,
                        '[' => self.class()?,
                        '}' | ']' => self.out.extend(['\\', character]),
                        _ => self.out.push(character),
                    }
                    self.atom(1)
                }
            };
        }
        self.groups.is_empty().then_some(())
    }

    fn atom(&mut self, weight: u32) -> Last {
        self.weight = weight;
        if let Some(largest) = self.groups.last_mut() {
            *largest = (*largest).max(weight);
        }
        Last::Atom
    }

    /// A repetition may be lazy, but not repeated, and nested ones have a limit together.
    fn repetition(&mut self, last: Last, times: u32) -> Option<Last> {
        if self.accept("?") {
            self.out.push('?');
        }
        let weight = self.weight.max(1).saturating_mul(times.max(1));
        (last == Last::Atom && weight <= MAX_REPEAT).then_some(())?;
        self.atom(weight);
        Some(Last::Repetition)
    }

    /// What follows an opening parenthesis: a plain group, a name or flags that both know. Names are of no use here.
    fn group(&mut self) -> Option<Last> {
        if !self.accept("?") {
            self.out.push('(');
            self.groups.push(1);
            return Some(Last::Nothing);
        }
        if self.accept("P<") || self.accept("<") {
            let (name, rest) = self.rest.split_once('>')?;
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            (!name.is_empty() && name.bytes().all(word)).then_some(())?;
            self.rest = rest;
            self.out.push('(');
            self.groups.push(1);
            return Some(Last::Nothing);
        }
        let end = self.rest.find([':', ')'])?;
        let flags = self.rest.get(..end)?;
        (flags.bytes().all(|flag| b"imsU-".contains(&flag)) && !flags.ends_with('-'))
            .then_some(())?;
        self.rest = self.rest.get(end..)?;
        if self.accept(":") {
            self.out.extend(["(?", flags, ":"]);
            self.groups.push(1);
        } else {
            self.rest = self.rest.get(1..)?;
            if !flags.is_empty() {
                self.out.extend(["(?", flags, ")"]);
            }
        }
        Some(Last::Nothing)
    }
}

/// What an opening brace is.
enum Counts<'a> {
    /// Just a brace.
    None,
    /// A repetition that Go refuses.
    TooMany,
    /// `2`, `2,` or `2,5`.
    Valid { text: &'a str, times: u32 },
}

fn counts(after_brace: &str) -> Counts<'_> {
    let Some((text, _)) = after_brace.split_once('}') else {
        return Counts::None;
    };
    let (low, high) = text
        .split_once(',')
        .map_or((text, text), |(low, high)| (low, high));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if low.is_empty() || !digits(low) || !digits(high) {
        return Counts::None;
    }
    let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let (low, high) = (
        number(low),
        if high.is_empty() {
            number(low)
        } else {
            number(high)
        },
    );
    if low > MAX_REPEAT || high > MAX_REPEAT || high < low {
        return Counts::TooMany;
    }
    Counts::Valid { text, times: high }
}
