//! Quoted literals: prefixes, triple quotes, escapes.

/// The text of a string literal, given what stands between the quotes.
pub(crate) fn string(body: &str, raw: bool, triple: bool) -> Result<String, &'static str> {
    let mut text = String::with_capacity(body.len());
    unescape(
        &normalized(body, triple),
        raw,
        false,
        &mut |piece| match piece {
            Piece::Char(character) => text.push(character),
            Piece::Byte(byte) => text.push(char::from(byte)),
        },
    )?;
    Ok(text)
}

/// The bytes of a bytes literal: escapes are bytes, everything else is its UTF-8.
pub(crate) fn bytes(body: &str, raw: bool, triple: bool) -> Result<Vec<u8>, &'static str> {
    let mut octets = Vec::with_capacity(body.len());
    unescape(
        &normalized(body, triple),
        raw,
        true,
        &mut |piece| match piece {
            Piece::Char(character) => {
                octets.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Piece::Byte(byte) => octets.push(byte),
        },
    )?;
    Ok(octets)
}

enum Piece {
    Char(char),
    Byte(u8),
}

fn normalized(body: &str, triple: bool) -> std::borrow::Cow<'_, str> {
    if triple && body.contains('\r') {
        body.replace("\r\n", "\n").replace('\r', "\n").into()
    } else {
        body.into()
    }
}

fn unescape(
    body: &str,
    raw: bool,
    in_bytes: bool,
    push: &mut dyn FnMut(Piece),
) -> Result<(), &'static str> {
    let mut rest = body.chars();
    while let Some(character) = rest.next() {
        if raw || character != '\\' {
            push(Piece::Char(character));
            continue;
        }
        let escape = rest.next().ok_or("unfinished escape in a string")?;
        let (radix, digits, first) = match escape {
            'x' | 'X' => (16, 2, 0),
            'u' if !in_bytes => (16, 4, 0),
            'U' if !in_bytes => (16, 8, 0),
            '0'..='3' => (8, 2, escape.to_digit(8).unwrap_or_default()),
            _ => {
                push(Piece::Char(
                    simple(escape).ok_or("unknown escape in a string")?,
                ));
                continue;
            }
        };
        let mut value = first;
        for _ in 0..digits {
            let digit = rest
                .next()
                .and_then(|digit| digit.to_digit(radix))
                .ok_or("bad escape in a string")?;
            value = value
                .checked_mul(radix)
                .and_then(|value| value.checked_add(digit))
                .ok_or("bad escape in a string")?;
        }
        push(if in_bytes {
            Piece::Byte(u8::try_from(value).map_err(|_| "bad escape in a string")?)
        } else {
            Piece::Char(char::from_u32(value).ok_or("invalid Unicode code point in a string")?)
        });
    }
    Ok(())
}

fn simple(escape: char) -> Option<char> {
    Some(match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '`' | '?' => escape,
        _ => return None,
    })
}
