//! Escapes and classes in brackets.

use super::Translator;

impl Translator<'_> {
    /// What follows a backslash.
    pub(super) fn escape(&mut self, in_class: bool) -> Option<()> {
        let character = self.next()?;
        match character {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => self.perl_class(character, in_class),
            'p' | 'P' => return self.unicode_class(character == 'P'),
            'x' => return self.hexadecimal(),
            '0'..='7' => return self.octal(character),
            'a' | 'f' | 'n' | 'r' | 't' | 'v' => {
                self.out.push('\\');
                self.out.push(character);
            }
            'A' | 'z' if !in_class => {
                self.out.push('\\');
                self.out.push(character);
            }
            'b' if !in_class => self.out.push_str(r"(?-u:\b)"),
            'B' if !in_class => self.out.push_str(r"\B"),
            _ if character.is_ascii_punctuation() => {
                self.out.push_str(&regex::escape(&character.to_string()));
            }
            _ => return None,
        }
        Some(())
    }

    /// `\pN`, `\p{Name}` and `\p{^Name}`.
    fn unicode_class(&mut self, negated: bool) -> Option<()> {
        if !self.accept("{") {
            let name = self.next()?;
            self.out.extend([
                if negated { "\\P{" } else { "\\p{" },
                name.encode_utf8(&mut [0; 4]),
                "}",
            ]);
            return Some(());
        }
        let (name, rest) = self.rest.split_once('}')?;
        self.rest = rest;
        let (name, negated) = name
            .strip_prefix('^')
            .map_or((name, negated), |name| (name, !negated));
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            .then_some(())?;
        self.out
            .extend([if negated { "\\P{" } else { "\\p{" }, name, "}"]);
        Some(())
    }

    fn perl_class(&mut self, character: char, in_class: bool) {
        let inside = match character.to_ascii_lowercase() {
            'd' => "0-9",
            'w' => "0-9A-Za-z_",
            _ => r"\t\n\f\r ",
        };
        match (in_class, character.is_ascii_uppercase()) {
            (true, false) => self.out.push_str(inside),
            (false, false) => self.out.extend(["[", inside, "]"]),
            (_, true) => self.out.extend(["[^", inside, "]"]),
        }
    }

    fn hexadecimal(&mut self) -> Option<()> {
        let digits = if self.accept("{") {
            let (digits, rest) = self.rest.split_once('}')?;
            self.rest = rest;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2)?;
            self.rest = rest;
            digits
        };
        self.code_point(u32::from_str_radix(digits, 16).ok()?)
    }

    /// An octal escape begins with a zero or has at least two digits; a single digit would be a back reference.
    fn octal(&mut self, first: char) -> Option<()> {
        let more = self
            .rest
            .bytes()
            .take(2)
            .take_while(|byte| (b'0'..=b'7').contains(byte))
            .count();
        (first == '0' || more > 0).then_some(())?;
        let (digits, rest) = self.rest.split_at_checked(more)?;
        let value = u32::from_str_radix(&format!("{first}{digits}"), 8).ok()?;
        self.rest = rest;
        self.code_point(value)
    }

    fn code_point(&mut self, value: u32) -> Option<()> {
        self.out
            .push_str(&regex::escape(&char::from_u32(value)?.to_string()));
        Some(())
    }

    /// A class in brackets. Everything that only the `regex` crate gives a meaning there is escaped.
    pub(super) fn class(&mut self) -> Option<()> {
        self.out.push('[');
        if self.accept("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.accept("]") {
            first = false;
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                let (name, rest) = self.rest.split_at_checked(end + 2)?;
                POSIX
                    .contains(&name.trim_matches(['[', ':', '^', ']']))
                    .then_some(())?;
                self.rest = rest;
                self.out.push_str(name);
                continue;
            }
            let single = self.class_item()?;
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && single {
                self.rest = self.rest.get(1..)?;
                self.out.push('-');
                self.class_item()?.then_some(())?;
            }
        }
        self.out.push(']');
        Some(())
    }

    /// A character or an escape within a class; true if it can be the end of a range.
    fn class_item(&mut self) -> Option<bool> {
        let set = self
            .rest
            .strip_prefix('\\')
            .is_some_and(|rest| rest.starts_with(['d', 'D', 'w', 'W', 's', 'S', 'p', 'P']));
        match self.next()? {
            '\\' => self.escape(true)?,
            character => self.out.push_str(&regex::escape(&character.to_string())),
        }
        Some(!set)
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];
