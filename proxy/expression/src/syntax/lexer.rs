//! Text to tokens.

use super::literal;
use crate::error::Refusal;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    /// A name or a word such as `in` or `true`.
    Word(&'a str),
    /// A name of a field in backticks.
    Quoted(&'a str),
    Int(&'a str),
    Uint(&'a str),
    Double(&'a str),
    Text(String),
    Bytes(Vec<u8>),
    Symbol(&'static str),
    End,
}

/// The two-character ones first: the longest match wins.
const SYMBOLS: [&str; 23] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!",
    "?", ":", "+", "*", "/",
];

pub(crate) fn tokens(source: &str) -> Result<Vec<(Token<'_>, u32)>, Refusal> {
    let mut lexer = Lexer {
        source,
        position: 0,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let offset = u32::try_from(lexer.position).unwrap_or(u32::MAX);
        let token = lexer
            .token()
            .map_err(|message| Refusal::new(offset, message))?;
        let done = token == Token::End;
        tokens.push((token, offset));
        if done {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.position..).unwrap_or_default()
    }

    /// Takes the next `length` bytes.
    fn take(&mut self, length: usize) -> &'a str {
        let taken = self.rest().get(..length).unwrap_or_default();
        self.position += taken.len();
        taken
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len()
                - rest
                    .trim_start_matches(['\t', ' ', '\r', '\n', '\u{c}'])
                    .len();
            self.position += blank;
            if !self.rest().starts_with("//") {
                return;
            }
            let comment = self.rest();
            self.position += comment.find('\n').unwrap_or(comment.len());
        }
    }

    fn token(&mut self) -> Result<Token<'a>, String> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if let Some(literal) = self.quoted()? {
            return Ok(literal);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = run(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_');
            return Ok(Token::Word(self.take(length)));
        }
        if first.is_ascii_digit()
            || (first == '.' && rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit))
        {
            return Ok(self.number());
        }
        if let Some(name) = rest.strip_prefix('`') {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-/ ".contains(&byte);
            let length = run(name, allowed);
            if length == 0
                || !name
                    .get(length..)
                    .is_some_and(|after| after.starts_with('`'))
            {
                return Err("unexpected character '`'".to_owned());
            }
            self.position += length + 2;
            return Ok(Token::Quoted(name.get(..length).unwrap_or_default()));
        }
        if rest.starts_with('%') {
            self.position += 1;
            return Ok(Token::Symbol("%"));
        }
        for symbol in SYMBOLS {
            if rest.starts_with(symbol) {
                self.position += symbol.len();
                return Ok(Token::Symbol(symbol));
            }
        }
        Err(format!("unexpected character '{}'", first.escape_default()))
    }

    fn number(&mut self) -> Token<'a> {
        let rest = self.rest();
        let digits = |text: &str| run(text, |byte| byte.is_ascii_digit());
        let tail = |from: usize| rest.get(from..).unwrap_or_default();
        if let Some(hex) = rest.strip_prefix("0x") {
            let length = run(hex, |byte| byte.is_ascii_hexdigit());
            if length > 0 {
                return self.integer(2 + length);
            }
        }
        let whole = digits(rest);
        let mut length = whole;
        let fraction = tail(length).strip_prefix('.').map_or(0, digits);
        if fraction > 0 {
            length += 1 + fraction;
        }
        if let Some(exponent) = tail(length).strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            let power = digits(exponent.get(sign..).unwrap_or_default());
            if power > 0 {
                length += 1 + sign + power;
            }
        }
        if length > whole {
            Token::Double(self.take(length))
        } else {
            self.integer(length)
        }
    }

    fn integer(&mut self, length: usize) -> Token<'a> {
        let digits = self.take(length);
        if self.rest().starts_with(['u', 'U']) {
            self.position += 1;
            Token::Uint(digits)
        } else {
            Token::Int(digits)
        }
    }

    /// A string or bytes literal, if one starts here.
    fn quoted(&mut self) -> Result<Option<Token<'a>>, String> {
        let rest = self.rest();
        let in_bytes = rest.starts_with(['b', 'B']);
        let after_bytes = if in_bytes {
            rest.get(1..).unwrap_or_default()
        } else {
            rest
        };
        let raw = after_bytes.starts_with(['r', 'R']);
        let from_quote = if raw {
            after_bytes.get(1..).unwrap_or_default()
        } else {
            after_bytes
        };
        let Some(quote) = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| from_quote.starts_with(quote))
        else {
            return Ok(None);
        };
        let triple = quote.len() == 3;
        let inner = from_quote.get(quote.len()..).unwrap_or_default();
        let length = body_length(inner, quote, raw, triple).ok_or("unterminated string")?;
        let body = inner.get(..length).unwrap_or_default();
        self.position += rest.len() - inner.len() + length + quote.len();
        Ok(Some(if in_bytes {
            Token::Bytes(literal::bytes(body, raw, triple)?)
        } else {
            Token::Text(literal::string(body, raw, triple)?)
        }))
    }
}

/// The length of the text before the closing quote.
fn body_length(inner: &str, quote: &str, raw: bool, triple: bool) -> Option<usize> {
    let mut escaped = false;
    for (index, character) in inner.char_indices() {
        if escaped {
            escaped = false;
        } else if inner.get(index..)?.starts_with(quote) {
            return Some(index);
        } else if !triple && matches!(character, '\n' | '\r') {
            return None;
        } else {
            escaped = !raw && character == '\\';
        }
    }
    None
}

fn run(text: &str, wanted: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| wanted(*byte)).count()
}
